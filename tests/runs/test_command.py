"""`numclip`: what the words mean, and what is said of words that mean nothing."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.checkpoints import read_hyperparameters
from support.command import Numclip, config_of, failure, metrics_of
from support.tiny_clip import TINY_CLIPS


class TestFlags:
    def test_values_of_every_kind_arrive_as_what_they_are(self, numclip: Numclip) -> None:
        run = numclip(
            "fit",
            "--trainer.max_epochs=1",
            "--trainer.limit_train_batches=1",
            "--model.learning_rates.image_encoder=1e-05",
            "--model.scale.maximum=90",
            "--model.optimizer.name=AdamW",
            "--model.optimizer.args={weight_decay: 1e-1}",
            "--model.lr_scheduler=null",
            "--model.adapter_reduction=None",
            "--data.augment=False",
            "--model.loss_weights.text_to_image=0",
        )
        config = config_of(run)
        model, data = config["model"]["init_args"], config["data"]["init_args"]
        assert config["model"]["class_path"] == "numclip_lightning.methods.NumCLIP"
        assert config["data"]["class_path"] == "numclip_lightning.data.ListDataModule"
        assert config["trainer"]["limit_train_batches"] == 1
        assert type(config["trainer"]["limit_train_batches"]) is int
        assert model["learning_rates"]["image_encoder"] == 1e-5
        assert type(model["learning_rates"]["image_encoder"]) is float
        assert model["learning_rates"]["adapter"] == 1e-5, "the others keep their defaults"
        assert model["scale"]["maximum"] == 90
        assert model["optimizer"] == {"name": "AdamW", "args": {"weight_decay": 0.1}}
        assert model["lr_scheduler"] is None
        assert model["adapter_reduction"] is None
        assert data["augment"] is False
        # What was asked for is what was built.
        state = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
        assert state["hyper_parameters"]["learning_rates"] == model["learning_rates"]
        (optimizer,) = state["optimizer_states"]
        rates = {group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer["param_groups"]}
        assert rates["image_encoder"] == (1e-5, 0.1)
        assert "adapter" not in rates
        assert state["lr_schedulers"] == []

    def test_what_is_not_said_is_the_default_of_the_method(self, fitted: Path) -> None:
        assert config_of(fitted)["model"]["init_args"]["lr_scheduler"] == {
            "name": "MultiStepLR",
            "args": {},
            "interval": "epoch",
        }

    def test_configs_overlay_each_other_from_left_to_right_and_flags_win(
        self, fitted: Path, numclip: Numclip, tmp_path: Path
    ) -> None:
        (tmp_path / "one.yaml").write_text("data: {init_args: {batch_size: 5}}\nmodel: {init_args: {tolerance: 3}}")
        (tmp_path / "two.yaml").write_text("data: {init_args: {batch_size: 7}}\nmodel: {init_args: {tolerance: 4}}")
        configs = [fitted / "config.yaml", tmp_path / "one.yaml", tmp_path / "two.yaml"]
        words = [word for config in configs for word in ("--config", str(config))]
        run = numclip.plain("validate", *words, "--model.tolerance=2", *numclip.small)
        resolved = config_of(run)
        assert resolved["data"]["init_args"]["batch_size"] == 7
        assert resolved["model"]["init_args"]["tolerance"] == 2
        assert resolved["model"]["init_args"]["scale"] == config_of(fitted)["model"]["init_args"]["scale"]
        assert "val_cs2" in metrics_of(run)

    def test_a_progress_bar_and_no_advertisements(
        self, numclip: Numclip, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        numclip("fit", "--trainer.max_epochs=1")
        assert "Epoch 0: 100%" in capsys.readouterr().out
        assert "litlogger" not in caplog.text

    @pytest.mark.parametrize("subcommand", ["fit", "validate", "test", "predict"])
    @pytest.mark.parametrize("word", ["--trainer.logger=false", "--trainer.enable_checkpointing=false"])
    def test_a_trainer_without_its_usual_parts(
        self, fitted: Path, numclip: Numclip, subcommand: str, word: str
    ) -> None:
        # Nobody predicts with what has learnt nothing.
        trained = ["--ckpt_path", str(fitted / "checkpoints" / "best.ckpt")] if subcommand == "predict" else []
        run = numclip(subcommand, word, "--trainer.max_epochs=1", *trained)
        assert (run / "config.yaml").is_file()
        assert (run / "metrics.csv").exists() == ("logger" not in word and subcommand != "predict")
        assert (run / "checkpoints").exists() == ("checkpoint" not in word and subcommand == "fit")

    @pytest.mark.parametrize("subcommand", ["fit", "validate", "test"])
    def test_a_trial_run_leaves_nothing(self, numclip: Numclip, subcommand: str) -> None:
        numclip.try_out(subcommand, *numclip.flags, *(["--test_after_fit=true"] if subcommand == "fit" else []))
        assert not list(numclip.runs.glob("*"))


class TestPrintedCommand:
    def test_it_gives_the_numbers_of_the_fit(self, numclip: Numclip, capsys: pytest.CaptureFixture[str]) -> None:
        run = numclip("fit", "--test_after_fit=true")
        command = next(line for line in capsys.readouterr().out.splitlines() if " test --config " in line)
        words = shlex.split(command)
        again = numclip.plain(*words[words.index("test") :])
        expected = {key: value for key, value in metrics_of(run).items() if key.startswith("test_")}
        assert {"test_mae", "test_acc", "test_acc_within_1", "test_cs5", "test_qwk", "test_spearman"} == set(expected)
        assert metrics_of(again) == pytest.approx({**expected, "protocol": "clean"}, abs=1e-5)


class TestCheckpoints:
    def test_its_hyperparameters_win_over_config_and_flags(self, fitted: Path, numclip: Numclip) -> None:
        best = str(fitted / "checkpoints" / "best.ckpt")
        run = numclip("test", f"--ckpt_path={best}", "--model.weighting=none", "--model.scale.maximum=99")
        model = config_of(run)["model"]["init_args"]
        assert (model["weighting"], model["scale"]["maximum"]) == ("logits", 19)
        tested = {key: value for key, value in metrics_of(fitted).items() if key.startswith("test_")}
        assert metrics_of(run) == pytest.approx({**tested, "protocol": "clean"}, abs=1e-5)

    def test_one_from_elsewhere_is_refused(self, tmp_path: Path) -> None:
        torch.save({"state_dict": {"weight": torch.zeros(1)}}, tmp_path / "foreign.ckpt")
        with pytest.raises(ConfigError, match="was not made by `numclip fit`"):
            read_hyperparameters(str(tmp_path / "foreign.ckpt"))
        torch.save({"config": Path("x")}, tmp_path / "pickled.ckpt")
        with pytest.raises(ConfigError, match=r"pickled.ckpt can't be read: Weights only load failed"):
            read_hyperparameters(str(tmp_path / "pickled.ckpt"))


class TestHelp:
    def test_every_subcommand_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert failure("--help") == 0
        shown = capsys.readouterr().out
        assert "usage: numclip {fit,validate,test,predict,benchmark,splits} ..." in shown
        assert "`numclip benchmark` runs many methods on many datasets" in " ".join(shown.split())
        assert failure("benhcmark") == 2
        assert "benchmark,splits}" in capsys.readouterr().err

    def test_a_mistake_names_the_help_of_its_subcommand(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert failure("fit", "--model.weighting") == 2
        assert "run: numclip fit --help" in capsys.readouterr().err


class TestMisspelling:
    @pytest.mark.parametrize(
        ("word", "said"),
        [
            ("--trainer.max_epoch=2", "unrecognized arguments: --trainer.max_epoch=2"),
            ("--model.weigthing=none", "'weigthing' is not accepted"),
            ("--model.learning_rates.adaptor=1e-4", "adaptor"),
            ("--model.scale.maximun=20", "maximun"),
            ("--data.batchsize=4", "'batchsize' is not accepted"),
            ("--model=NumClip", "NumClip"),
            ("--model=OrdinalMethod", "is abstract"),
            ("--model.weighting=logit", "Literal['logits', 'similarities', 'none']. Got value: logit"),
            ("--data.preprocess=none", "Literal['clip', 'published']. Got value: none"),
            ("--model.learning_rates.head=fast", "Expected a <class 'float'>. Got value: fast"),
            ("--trainer.max_epochs=two", "trainer.max_epochs"),
            ("--config=nowhere.yaml", "nowhere.yaml"),
        ],
    )
    def test_a_word_that_means_nothing_is_named_and_nothing_is_made(
        self, numclip: Numclip, capsys: pytest.CaptureFixture[str], word: str, said: str
    ) -> None:
        assert failure("fit", *numclip.flags, word) == 2
        error = capsys.readouterr().err
        assert said in error
        assert "Traceback" not in error
        assert len(error.splitlines()) < 20, "not buried under the names of all flags"
        assert not numclip.runs.exists()

    def test_a_misspelt_key_in_a_config_is_named(
        self, numclip: Numclip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "bad.yaml").write_text("trainer: {max_epoch: 3}", encoding="utf-8")
        assert failure("fit", "--config", str(tmp_path / "bad.yaml"), *numclip.flags) == 2
        assert "max_epoch" in capsys.readouterr().err


def write(file: Path, content: str | bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def cut_short(image: Path, folder: Path) -> Path:
    """Copy the first half of an image, and list it beside sound ones."""
    broken = write(folder / "cut.png", image.read_bytes()[:-40])
    lines = [f"{broken} 10", *(f"train_{i:03d}.png 11" for i in range(1, 4))]
    return write(folder / "cut.txt", "\n".join(lines))


class TestMistakes:
    @pytest.mark.parametrize(
        ("word", "said"),
        [
            ("--ckpt_path=nowhere.ckpt", "--ckpt_path nowhere.ckpt is no file"),
            ("--ckpt_path=last", "--ckpt_path last is no file"),
            ("--ckpt_path={bad}", "is no checkpoint, or one that was cut short"),
            ("--data.train_file=nowhere.txt", "train_file='nowhere.txt' doesn't exist"),
            ("--data.train_file={empty}", "empty.txt is empty"),
            ("--data.test_file={empty}", "empty.txt is empty"),
            ("--data.train_file={outside}", "outside.txt:2: train_001.png has 99"),
            ("--data.train_file={missing}", "missing.txt:1: nowhere.png: missing"),
            ("--data.train_file={cut} --data.check_images=header", "cut.txt:1: can't read image"),
            ("--trainer.precision=bf16-true", "trainer.precision=bf16-true rounds targets; set bf16-mixed"),
            ("--model.lr_scheduler.name=StepLR", "lr_scheduler.args={} don't fit StepLR"),
            ("--model.optimizer.args={betas: 3}", "don't fit RAdam"),
            ("--trainer.max_epochs=-1", "needs to know its end: set trainer.max_epochs"),
            ("--data.test_file={missing_test} --test_after_fit=true", "missing_test.txt:1: nowhere.png: missing"),
            ("--data.test_file={outside_test} --test_after_fit=true", "1 of 3 targets in the test split lie outside"),
            ("--data.image_size=64", "the images are 64x64 pixels, the backbone takes 32x32"),
            ("--data.batch_size=0", "batch_size=0 must be at least 1"),
            ("--model.backbone=tiny-vti", "did you mean 'tiny-vit'"),
            ("--model.scale.maximum=5", "scale.minimum 10 is greater than scale.maximum 5"),
            ("--model.optimizer.name=Adem", "did you mean 'Adam'"),
            ("--model.learning_rates.head=-1", "learning_rates.head is -1.0"),
            (
                "--model.learning_rates={image_encoder: 0, adapter: 0, context: 0, phrases: 0, head: 0}",
                "nothing is left to train",
            ),
            ("--trainer.accelerator=abacus", "accelerator='abacus'"),
            ("--trainer.devices=none", "`devices`"),
            ("--checkpoint.monitor=val_mea", "monitor='val_mea'"),
        ],
    )
    def test_a_mistake_is_told_without_a_traceback(
        self, numclip: Numclip, tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str, said: str
    ) -> None:
        for name, file in {
            "bad": write(tmp_path / "bad.ckpt", b"not a checkpoint"),
            "empty": write(tmp_path / "empty.txt", ""),
            "outside": write(tmp_path / "outside.txt", "train_000.png 10\ntrain_001.png 99\ntrain_002.png 12\n"),
            "cut": cut_short(numclip.data / "train_000.png", tmp_path),
            "missing": write(tmp_path / "missing.txt", "nowhere.png 10\ntrain_001.png 11\n"),
            # Of no training image, which would be refused first.
            "outside_test": write(tmp_path / "outside_test.txt", "test_000.png 10\ntest_001.png 99\ntest_002.png 12\n"),
            "missing_test": write(tmp_path / "missing_test.txt", "nowhere.png 10\ntest_001.png 11\n"),
        }.items():
            word = word.replace(f"{{{name}}}", str(file))
        assert failure("fit", *numclip.flags, *re.split(" (?=--)", word)) == 2
        error = capsys.readouterr().err
        assert "numclip: error: " in error
        assert said in error
        assert "Traceback" not in error
        if "data." in word and "header" not in word:
            assert not list(numclip.runs.glob("*")), "no empty folder stays behind"

    def test_the_shell_sees_it_too(self, tmp_path: Path) -> None:
        words = ["numclip_lightning", "test", "--ckpt_path=nowhere.ckpt", "--model=NumCLIP", "--data=ListDataModule"]
        words += ["--model.scale.minimum=0", "--model.scale.maximum=9"]
        result = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
        )
        assert result.returncode == 2
        assert result.stderr.strip().startswith("numclip: error: --ckpt_path nowhere.ckpt is no file")
        assert "Traceback" not in result.stderr
        assert not list(tmp_path.iterdir())


def test_a_backbone_that_wants_other_colours_is_warned_of(
    numclip: Numclip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"model_cfg": TINY_CLIPS["tiny-vit"], "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    write(tmp_path / "model" / "open_clip_config.json", json.dumps(config))
    numclip.try_out("fit", *numclip.flags, f"--model.backbone=local-dir:{tmp_path / 'model'}")
    assert "trained on images normalised with mean (0.5, 0.5, 0.5)" in capsys.readouterr().err
