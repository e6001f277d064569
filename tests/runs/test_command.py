"""One run: flags and configurations arrive as they are written, and the printed command repeats the test."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.checkpoints import read_hyperparameters
from numclip_lightning.runs.command import NumClipCLI
from support.command import Numclip, config_of, metrics_of
from support.tiny_clip import TINY_CLIPS


class TestParsed:
    """Words alone: nothing is built."""

    @pytest.mark.parametrize(
        ("word", "key", "value"),
        [
            ("--trainer.limit_train_batches=1", "trainer.limit_train_batches", 1),
            ("--trainer.limit_train_batches=1.0", "trainer.limit_train_batches", 1.0),
            ("--model.learning_rates.image_encoder=1e-05", "model.init_args.learning_rates.image_encoder", 1e-5),
            ("--model.scale.maximum=90", "model.init_args.scale.maximum", 90.0),
            ("--model.optimizer.name=AdamW", "model.init_args.optimizer.name", "AdamW"),
            (
                "--model.optimizer.args={weight_decay: 1e-1}",
                "model.init_args.optimizer.args",
                {"weight_decay": 0.1},
            ),
            ("--model.lr_scheduler=null", "model.init_args.lr_scheduler", None),
            ("--model.adapter_reduction=None", "model.init_args.adapter_reduction", None),
            ("--data.augment=False", "data.init_args.augment", False),
            ("--model=CoOp", "model.class_path", "numclip_lightning.methods.CoOp"),
        ],
    )
    def test_a_flag_keeps_its_value_and_its_type(self, numclip: Numclip, word: str, key: str, value: Any) -> None:
        found = NumClipCLI(["fit", *numclip.flags, word], until="parsed").config.fit[key]
        assert found == value
        assert type(found) is type(value)

    def test_the_other_keys_of_a_group_keep_their_defaults(self, numclip: Numclip) -> None:
        words = ["fit", *numclip.flags, "--model.learning_rates.image_encoder=1e-3"]
        assert NumClipCLI(words, until="parsed").config.fit.model.init_args.learning_rates.adapter == 1e-5

    def test_no_checkpoint_is_read(self, numclip: Numclip) -> None:
        words = ["test", *numclip.flags, "--ckpt_path=nowhere.ckpt"]
        assert NumClipCLI(words, until="parsed").config.test.ckpt_path == "nowhere.ckpt"


class TestBuilt:
    def test_the_method_has_the_values_of_the_flags_and_nothing_has_run(self, numclip: Numclip) -> None:
        words = ["fit", *numclip.flags, "--model.learning_rates.image_encoder=2e-5", "--model.tolerance=3"]
        built = NumClipCLI(words, until="built")
        assert built.model.learning_rates.image_encoder == 2e-5
        assert built.model.hparams["tolerance"] == 3
        assert not numclip.runs.exists()

    def test_a_fit_trains_with_the_rates_and_the_optimizer_of_the_flags(self, numclip: Numclip) -> None:
        run = numclip(
            "fit",
            "--trainer.max_epochs=1",
            "--trainer.limit_train_batches=1",
            "--model.learning_rates.image_encoder=1e-05",
            "--model.optimizer.name=AdamW",
            "--model.optimizer.args={weight_decay: 1e-1}",
            "--model.lr_scheduler=null",
            "--model.adapter_reduction=None",
        )
        state = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
        (optimizer,) = state["optimizer_states"]
        rates = {group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer["param_groups"]}
        assert rates["image_encoder"] == (1e-5, 0.1)
        assert "adapter" not in rates, "there is none"
        assert state["lr_schedulers"] == []
        assert state["hyper_parameters"]["learning_rates"] == config_of(run)["model"]["init_args"]["learning_rates"]


class TestFlags:
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

    def test_a_line_for_each_epoch_in_a_log_and_no_advertisements(
        self, numclip: Numclip, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        numclip("fit", "--trainer.max_epochs=2")
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
        assert len(lines) == 2
        for number, line in enumerate(lines, 1):
            assert re.fullmatch(rf"epoch {number} of 2: loss [\d.]+, val_mae [\d.]+(; \d+ s left)?", line)
        assert "litlogger" not in caplog.text

    def test_a_bar_with_loss_and_error_on_a_terminal(
        self, numclip: Numclip, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        numclip("fit", "--trainer.max_epochs=1")
        shown = capsys.readouterr().out
        assert re.search(r"Epoch 0: 100%.*3/3.*loss=[\d.]+, val_mae=[\d.]+", shown)
        assert "v_num" not in shown

    def test_a_bar_of_the_users_own_or_none(self, numclip: Numclip, capsys: pytest.CaptureFixture[str]) -> None:
        numclip("fit", "--trainer.max_epochs=1", "--trainer.callbacks+=TQDMProgressBar")
        assert "Epoch 0: 100%" in capsys.readouterr().out
        numclip("fit", "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false")
        assert "poch" not in capsys.readouterr().out

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
        measured = {"test_mae", "test_acc", "test_acc_within_1", "test_cs1", "test_qwk", "test_spearman"}
        assert measured | {"test_guess_mae", "test_guess_acc"} == set(expected)
        assert metrics_of(again) == pytest.approx({**expected, "select_on": "val"}, abs=1e-5)


class TestCheckpoints:
    def test_its_hyperparameters_win_over_config_and_flags(self, fitted: Path, numclip: Numclip) -> None:
        best = str(fitted / "checkpoints" / "best.ckpt")
        run = numclip("test", f"--ckpt_path={best}", "--model.weighting=none", "--model.scale.maximum=99")
        model = config_of(run)["model"]["init_args"]
        assert (model["weighting"], model["scale"]["maximum"]) == ("logits", 19)
        tested = {key: value for key, value in metrics_of(fitted).items() if key.startswith("test_")}
        assert metrics_of(run) == pytest.approx({**tested, "select_on": "val"}, abs=1e-5)

    def test_without_the_weights_of_its_tag_images_are_normalised_as_by_the_tag(
        self, fitted: Path, numclip: Numclip, tmp_path: Path
    ) -> None:
        checkpoint = torch.load(fitted / "checkpoints" / "best.ckpt", weights_only=True)
        # Trained on images with mean 0.5, unlike other weights of this model.
        checkpoint["hyper_parameters"] |= {"backbone": "ViT-L-14", "pretrained": "laion2b_s32b_b82k"}
        torch.save(checkpoint, tmp_path / "tagged.ckpt")
        method = NumClipCLI(["test", *numclip.flags, f"--ckpt_path={tmp_path / 'tagged.ckpt'}"], until="built").model
        assert (method.clip.mean, method.clip.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        assert method.hparams["pretrained"] == "laion2b_s32b_b82k"

    def test_one_from_elsewhere_is_refused(self, tmp_path: Path) -> None:
        torch.save({"state_dict": {"weight": torch.zeros(1)}}, tmp_path / "foreign.ckpt")
        with pytest.raises(ConfigError, match="was not made by `numclip fit`"):
            read_hyperparameters(str(tmp_path / "foreign.ckpt"))
        torch.save({"config": Path("x")}, tmp_path / "pickled.ckpt")
        with pytest.raises(ConfigError, match=r"pickled.ckpt can't be read: Weights only load failed"):
            read_hyperparameters(str(tmp_path / "pickled.ckpt"))


def test_images_follow_a_backbone_of_other_colours(
    numclip: Numclip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"model_cfg": TINY_CLIPS["tiny-vit"], "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    numclip.try_out("fit", *numclip.flags, f"--model.backbone=local-dir:{tmp_path / 'model'}")
    assert "normalised" not in capsys.readouterr().err
    words = (f"--model.backbone=local-dir:{tmp_path / 'model'}", "--data.normalize=clip")
    numclip.try_out("fit", *numclip.flags, *words)
    assert "trained on images normalised with mean (0.5, 0.5, 0.5)" in capsys.readouterr().err
