"""The run folder: what is in it, that nobody shares it, and what stays after a training that was stopped or resumed."""

import json
import math
import re
import shutil
import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from numclip_lightning.cli import main
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.methods import LearningRates, LossWeights, NumCLIP, OptimizerSpec, SchedulerSpec
from numclip_lightning.runs.folder import new_run_name
from numclip_lightning.scale import OrdinalScale
from support.command import SIZES, Numclip, config_of, failure, metrics_of, rows_of
from support.tiny_clip import TINY_CLIPS


class Stumble(Callback):
    """Falls over in the second epoch."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.current_epoch == 1:
            raise ArithmeticError("stumbled")


def epochs(run: Path, column: str) -> list[int]:
    return [int(row["epoch"]) for row in rows_of(run / "metrics.csv") if row[column]]


class TestFolder:
    def test_a_fit_keeps_all_of_itself(self, fitted: Path) -> None:
        kept = {file.relative_to(fitted).as_posix() for file in fitted.rglob("*") if file.is_file()}
        files = {"config.yaml", "metrics.csv", "metrics.json", "test_predictions.csv", "train_counts.json"}
        files |= {"validation_predictions.csv", "calibration.json", "prototypes.json"}
        assert kept == {*files, "checkpoints/best.ckpt", "checkpoints/last.ckpt"}
        assert epochs(fitted, "val_mae") == epochs(fitted, "train_mae") == [0, 1]
        metrics = metrics_of(fitted)
        assert metrics["best_checkpoint"] == str(fitted / "checkpoints" / "best.ckpt")
        for key in ("mae", "acc", "acc_within_1", "cs1", "qwk", "spearman"):
            assert all(isinstance(metrics[f"{stage}_{key}"], float) for stage in ("train", "val", "test"))

    def test_the_validation_metrics_are_those_of_the_best_checkpoint(self, fitted: Path, numclip: Numclip) -> None:
        kept = metrics_of(fitted)
        config, best = str(fitted / "config.yaml"), kept["best_checkpoint"]
        run = numclip.plain("validate", "--config", config, "--ckpt_path", best, *numclip.small)
        assert metrics_of(run) == pytest.approx({key: kept[key] for key in metrics_of(run)}, abs=1e-5)

    def test_its_config_is_a_config(self, fitted: Path, numclip: Numclip) -> None:
        run = numclip.plain("fit", "--config", str(fitted / "config.yaml"), *numclip.small)
        for part in ("model", "data", "checkpoint", "seed_everything"):
            assert config_of(run)[part] == config_of(fitted)[part]
        # The same seed on the same machine: the same training.
        assert metrics_of(run)["val_mae"] == pytest.approx(metrics_of(fitted)["val_mae"], abs=1e-6)

    def test_runs_that_start_in_one_second_do_not_share_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "strftime", lambda _: "20260101-000000")
        assert len({new_run_name("fit") for _ in range(200)}) == 200


class TestStopped:
    def test_an_exception_leaves_what_was_written(self, numclip: Numclip) -> None:
        with numclip.new_folder() as found, pytest.raises(ArithmeticError, match="stumbled"):
            main(["fit", *numclip.flags, "--trainer.callbacks+=test_folder.Stumble"])
        (run,) = found
        assert epochs(run, "val_mae") == [0]
        assert (run / "config.yaml").is_file()
        last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        assert last["epoch"] == 0


class TestResumed:
    def test_it_goes_on_counting(self, fitted: Path, numclip: Numclip) -> None:
        last = fitted / "checkpoints" / "last.ckpt"
        run = numclip("fit", f"--ckpt_path={last}", "--trainer.max_epochs=4", "--model.weighting=none")
        assert epochs(run, "val_mae") == [2, 3]
        # As Lightning does: the hyperparameters of the checkpoint win.
        assert config_of(run)["model"]["init_args"]["weighting"] == "logits"
        steps = torch.load(last, weights_only=True)["global_step"]
        assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2 * steps

    @pytest.fixture
    def hard(self, data: Path, tmp_path: Path) -> str:
        """A validation list on which no epoch is as good as one on the usual list."""
        lines = (data / "val.txt").read_text(encoding="utf-8").splitlines()
        file = tmp_path / "hard.txt"
        file.write_text("".join(f"{line.split()[0]} 19\n" for line in lines), encoding="utf-8")
        return f"--data.val_file={file}"

    def test_the_best_epoch_may_lie_before_the_break(self, numclip: Numclip, hard: str) -> None:
        first = numclip("fit", "--trainer.max_epochs=1")
        kept = metrics_of(first)
        run = numclip("fit", f"--ckpt_path={first / 'checkpoints/last.ckpt'}", hard, "--trainer.max_epochs=2")
        assert metrics_of(run)["best_checkpoint"] == kept["best_checkpoint"]
        assert metrics_of(run)["val_mae"] == kept["val_mae"]
        assert Path(kept["best_checkpoint"]).is_file()

    def test_without_the_old_best_checkpoint_it_begins_anew(self, numclip: Numclip, hard: str) -> None:
        first = numclip("fit", "--trainer.max_epochs=1")
        Path(metrics_of(first)["best_checkpoint"]).unlink()
        last = first / "checkpoints" / "last.ckpt"
        run = numclip("fit", f"--ckpt_path={last}", hard, "--trainer.max_epochs=2", "--test_after_fit=true")
        assert metrics_of(run)["best_checkpoint"] == str(run / "checkpoints" / "best.ckpt")
        assert metrics_of(run)["val_mae"] > metrics_of(first)["val_mae"]
        assert "test_mae" in metrics_of(run)


class TestCheckpoint:
    def test_one_of_the_command_line_is_a_method(self, fitted: Path) -> None:
        best = fitted / "checkpoints" / "best.ckpt"
        state = torch.load(best, weights_only=True)["state_dict"]
        method = NumCLIP.load_from_checkpoint(best)
        assert method.scale.phrases == ["few", "some", "many"]
        for name, value in method.state_dict().items():
            torch.testing.assert_close(value, state[name], rtol=0, atol=0)

    def test_one_of_python_serves_python_and_the_command_line(
        self, data: Path, numclip: Numclip, tmp_path: Path
    ) -> None:
        method = NumCLIP(
            scale=OrdinalScale(minimum=10, maximum=19, step=0.5),
            backbone="tiny-vit",
            pretrained=None,
            num_context=3,
            adapter_reduction=None,
            loss_weights=LossWeights(text_to_image=0),
            learning_rates=LearningRates(image_encoder=0, logit_scale=1e-3),
            optimizer=OptimizerSpec("AdamW", {"betas": [0.8, 0.9]}),
            lr_scheduler=SchedulerSpec("OneCycleLR", interval="step"),
        )
        lists = {f"{split}_file": f"{split}.txt" for split in SIZES}
        module = ListDataModule(root=str(data), batch_size=8, num_workers=0, image_size=32, **lists)  # type: ignore[arg-type]
        keep = ModelCheckpoint(tmp_path, filename="python")
        trainer = L.Trainer(
            max_epochs=1,
            logger=False,
            callbacks=[keep],
            accelerator="cpu",
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
        )
        with pytest.warns(UserWarning, match=r"Found \d+ module\(s\) in eval mode"):
            trainer.fit(method, module)
        (expected,) = trainer.test(method, module, verbose=False)

        again = NumCLIP.load_from_checkpoint(keep.best_model_path)
        assert again.hparams == method.hparams
        assert (again.optimizer, again.lr_scheduler) == (method.optimizer, method.lr_scheduler)
        run = numclip("test", f"--ckpt_path={keep.best_model_path}")
        assert config_of(run)["model"]["init_args"]["optimizer"]["args"] == {"betas": [0.8, 0.9]}
        found = {key: value for key, value in metrics_of(run).items() if "guess" not in key}
        assert found == pytest.approx({**expected, "select_on": "val"}, abs=1e-5)


@pytest.fixture(scope="module")
def selected(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that selected its checkpoint on the test list; not to be written to."""
    numclip = Numclip(data, tmp_path_factory.mktemp("selected"))
    return numclip("fit", "--data.val_file=null", "--data.select_on=test", "--test_after_fit=true")


class TestSelectOn:
    def test_a_run_says_what_it_was_selected_on(self, fitted: Path, selected: Path) -> None:
        assert metrics_of(fitted)["select_on"] == "val"
        assert "select_on" not in rows_of(fitted / "test_predictions.csv")[0]
        assert metrics_of(selected)["select_on"] == "test"
        rows = rows_of(selected / "test_predictions.csv")
        assert [row["select_on"] for row in rows] == ["test"] * SIZES["test"]

    @pytest.mark.parametrize("verb", ["validate", "test"])
    def test_a_checkpoint_remembers_it_under_another_configuration(
        self, verb: str, selected: Path, numclip: Numclip
    ) -> None:
        run = numclip(verb, f"--ckpt_path={selected / 'checkpoints' / 'best.ckpt'}")
        assert metrics_of(run)["select_on"] == "test"

    def test_predictions_and_a_resumed_training_say_it_too(self, selected: Path, numclip: Numclip) -> None:
        predicted = numclip("predict", f"--ckpt_path={selected / 'checkpoints' / 'best.ckpt'}")
        assert {row["select_on"] for row in rows_of(predicted / "predictions.csv")} == {"test"}
        resumed = numclip("fit", f"--ckpt_path={selected / 'checkpoints' / 'last.ckpt'}", "--trainer.max_epochs=3")
        assert metrics_of(resumed)["select_on"] == "test"

    def test_the_word_of_an_older_checkpoint_is_understood(
        self, fitted: Path, numclip: Numclip, tmp_path: Path
    ) -> None:
        state = torch.load(fitted / "checkpoints" / "best.ckpt", weights_only=True)
        (name,) = (name for name in state["callbacks"] if name.startswith("RunFolder"))
        del state["callbacks"][name]["select_on"]
        state["callbacks"][name]["protocol"] = "paper"
        torch.save(state, tmp_path / "old.ckpt")
        assert metrics_of(numclip("test", f"--ckpt_path={tmp_path / 'old.ckpt'}"))["select_on"] == "test"

    def test_a_later_test_on_the_validation_images_is_refused_unless_asked_for(
        self, fitted: Path, numclip: Numclip, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["--config", str(fitted / "config.yaml"), "--ckpt_path", str(fitted / "checkpoints" / "best.ckpt")]
        words += [*numclip.small, "--data.test_file=val.txt"]
        assert failure("test", *words) == 2
        assert "15 of 15 validation images are also in the test list" in capsys.readouterr().err
        assert metrics_of(numclip.plain("test", *words, "--data.select_on=test"))["select_on"] == "test"


class TestElsewhere:
    def test_a_checkpoint_outlives_the_place_of_its_clip(self, numclip: Numclip, tmp_path: Path) -> None:
        for name in ("old", "new"):
            config = {"model_cfg": TINY_CLIPS["tiny-vit"], "preprocess_cfg": {}}
            (tmp_path / name).mkdir()
            (tmp_path / name / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
        run = numclip("fit", f"--model.backbone=local-dir:{tmp_path / 'old'}", "--test_after_fit=true")
        shutil.rmtree(tmp_path / "old")
        words = ["--config", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints" / "best.ckpt")]
        again = numclip.plain("test", *words, f"--model.backbone=local-dir:{tmp_path / 'new'}")
        assert metrics_of(again)["test_mae"] == pytest.approx(metrics_of(run)["test_mae"], abs=1e-5)

    def test_a_checkpoint_of_another_clip_is_refused(
        self, fitted: Path, numclip: Numclip, capsys: pytest.CaptureFixture[str]
    ) -> None:
        checkpoint = str(fitted / "checkpoints" / "best.ckpt")
        words = [*numclip.flags, "--model.backbone=tiny-resnet", "--ckpt_path", checkpoint]
        assert main(["test", *words]) == 2
        error = capsys.readouterr().err
        assert "the checkpoint doesn't fit model.backbone, or the method as it is now: of its tensors " in error
        assert re.search(
            r"\d+ are missing in the checkpoint \(first 'clip.*\d+ are not known here \(first 'clip", error
        )
        assert re.search(
            r"It was made by numclip_lightning [\d.]+.*; this is numclip_lightning .*: fit again, or", error
        )
        assert "size mismatch" not in error

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"_class_path": "numclip_lightning.old.Gone"},
                "holds the method numclip_lightning.old.Gone, which is not",
            ),
            ({"protocol": "clean"}, "NumCLIP does not take 'protocol' any more"),
        ],
    )
    def test_a_checkpoint_of_an_earlier_method_is_refused(
        self, changes: dict[str, str], message: str, fitted: Path, numclip: Numclip, tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        checkpoint = torch.load(fitted / "checkpoints" / "best.ckpt", weights_only=True)
        checkpoint["hyper_parameters"] |= changes
        del checkpoint["callbacks"]
        torch.save(checkpoint, tmp_path / "old.ckpt")
        assert main(["test", *numclip.flags, "--ckpt_path", str(tmp_path / "old.ckpt")]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "It was made by an earlier version, which left no name; this is numclip_lightning" in error

    @pytest.mark.parametrize(
        ("schedule", "message"),
        [
            ("{name: OneCycleLR, interval: step}", "OneCycleLR was planned for 6 steps, this training takes 12"),
            # It would climb again.
            ("{name: CosineAnnealingLR}", "CosineAnnealingLR was planned for 2 epochs, this training takes 4"),
        ],
    )
    def test_a_schedule_is_not_resumed_beyond_its_end(
        self, schedule: str, message: str, numclip: Numclip, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = numclip("fit", f"--model.lr_scheduler={schedule}")
        last = str(run / "checkpoints" / "last.ckpt")
        assert main(["fit", *numclip.flags, "--ckpt_path", last, "--trainer.max_epochs=4"]) == 2
        assert message in capsys.readouterr().err

    def test_a_schedule_of_ones_own_length_is_ones_own(self, numclip: Numclip) -> None:
        run = numclip("fit", "--model.lr_scheduler={name: CosineAnnealingLR, args: {T_max: 1}}")
        last = str(run / "checkpoints" / "last.ckpt")
        assert math.isfinite(metrics_of(numclip("fit", "--ckpt_path", last, "--trainer.max_epochs=4"))["val_mae"])


@pytest.mark.filterwarnings("ignore:`ModelCheckpoint.monitor='val_mae'.` could not find the monitored key")
def test_without_validation_the_last_checkpoint_is_named(numclip: Numclip, capsys: pytest.CaptureFixture[str]) -> None:
    numclip("fit", "--trainer.limit_val_batches=0")
    assert "last.ckpt" in capsys.readouterr().out.splitlines()[-1]


def test_the_untrained_are_measured_with_a_warning_and_not_asked_for_predictions(
    numclip: Numclip, capsys: pytest.CaptureFixture[str]
) -> None:
    numclip("test")
    assert "the method is measured as it starts, untrained" in capsys.readouterr().err
    assert main(["predict", *numclip.flags]) == 2
    assert "without --ckpt_path the method is untrained" in capsys.readouterr().err
