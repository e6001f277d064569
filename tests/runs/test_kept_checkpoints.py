"""Which checkpoints a fit keeps: `best.ckpt` is the best of the training, `last.ckpt` the last, whatever is asked."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from numclip_lightning.deploy import OrdinalPredictor
from numclip_lightning.deploy.checkpoints import find_checkpoint
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods import SORD
from numclip_lightning.runs.checkpoints import BestCheckpoint
from support.command import Numclip, metrics_of, rows_of
from support.tiny_fit import TARGETS, TINY, bright, loader


def fit(folder: Path, script: list[float], resume: Path | None = None, **arguments: Any) -> BestCheckpoint:
    callback = BestCheckpoint(**{
        "dirpath": folder, "filename": "best", "monitor": "script", "save_last": True,
        "enable_version_counter": False, **arguments,
    })  # fmt: skip

    class Script(L.Callback):
        def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            pl_module.log("script", script[min(trainer.current_epoch, len(script) - 1)])

    trainer = L.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, callbacks=[Script(), callback], max_epochs=len(script),
    )  # fmt: skip
    samples = loader(bright(TARGETS))
    trainer.fit(SORD(**TINY, lr_scheduler=None), samples, samples, ckpt_path=resume, weights_only=True)
    return callback


def epoch_of(file: Path) -> int:
    found: int = torch.load(file, weights_only=True)["epoch"]
    return found


def test_the_last_is_of_the_last_epoch_though_an_earlier_one_was_better(tmp_path: Path) -> None:
    fit(tmp_path, [3.0, 1.0, 2.0, 4.0])
    assert (epoch_of(tmp_path / "best.ckpt"), epoch_of(tmp_path / "last.ckpt")) == (1, 3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]
    # A resumed training goes on where it ended, and still knows its best.
    again = fit(tmp_path / "again", [9.0] * 6, tmp_path / "last.ckpt")
    assert epoch_of(tmp_path / "again" / "last.ckpt") == 5
    assert Path(again.best_model_path) == tmp_path / "best.ckpt"


def test_it_is_not_written_unless_asked_for(tmp_path: Path) -> None:
    fit(tmp_path / "none", [1.0, 2.0], save_last=False)
    assert [file.name for file in (tmp_path / "none").iterdir()] == ["best.ckpt"]
    fit(tmp_path / "alone", [1.0, 2.0], save_top_k=0)
    assert [file.name for file in (tmp_path / "alone").iterdir()] == ["last.ckpt"]
    assert epoch_of(tmp_path / "alone" / "last.ckpt") == 1


@pytest.mark.parametrize(("number", "epochs"), [(-1, [0, 1, 2, 3]), (2, [1, 2])])
def test_several_have_names_of_their_own_and_best_is_the_best(number: int, epochs: list[int], tmp_path: Path) -> None:
    callback = fit(tmp_path, [3.0, 1.0, 2.0, 4.0], save_top_k=number)
    kept = {file.name for file in tmp_path.glob("best-*.ckpt")}
    assert kept == {f"best-epoch={epoch}-step={epoch + 1}.ckpt" for epoch in epochs}
    assert (tmp_path / "best.ckpt").resolve() == Path(callback.best_model_path).resolve()
    assert (epoch_of(tmp_path / "best.ckpt"), epoch_of(tmp_path / "last.ckpt")) == (1, 3)
    (tmp_path / "run" / "checkpoints").parent.mkdir()
    tmp_path.joinpath("run", "checkpoints").symlink_to(tmp_path)
    assert find_checkpoint(tmp_path / "run").name == "best.ckpt"


def test_a_name_with_placeholders_is_the_users(tmp_path: Path) -> None:
    fit(tmp_path, [2.0, 1.0], save_top_k=2, filename="mine-{step}")
    assert {file.name for file in tmp_path.iterdir()} == {
        "mine-step=1.ckpt", "mine-step=2.ckpt", "best.ckpt", "last.ckpt",
    }  # fmt: skip


def test_a_wrong_choice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"checkpoint\.frozen is 'drop'; choose one of 'keep', 'leave_out'"):
        BestCheckpoint(tmp_path, frozen="drop")  # type: ignore[arg-type]


LIGHTNINGS = {
    "EMAWeightAveraging": "{decay: 0.5}",
    "StochasticWeightAveraging": "{swa_lrs: 0.01, swa_epoch_start: 1}",
}


@pytest.mark.slow
@pytest.mark.parametrize("average", LIGHTNINGS)
def test_the_predictor_says_what_a_test_says_of_weights_that_lightning_has_averaged(
    average: str, numclip: Numclip
) -> None:
    callback = f"{{class_path: lightning.pytorch.callbacks.{average}, init_args: {LIGHTNINGS[average]}}}"
    run = numclip(
        "fit", "--model.lr_scheduler=null", "--trainer.max_epochs=3", "--test_after_fit=true",
        f"--trainer.callbacks+={callback}",
    )  # fmt: skip
    rows = rows_of(run / "test_predictions.csv")
    found = OrdinalPredictor.load(run)([numclip.data / row["path"] for row in rows])
    assert [one.value for one in found] == pytest.approx([float(row["value"]) for row in rows], abs=1e-4)
    words = ["--config", str(run / "config.yaml"), *numclip.small, "--ckpt_path", metrics_of(run)["best_checkpoint"]]
    again = numclip.plain("validate", *words)
    assert metrics_of(again)["val_mae"] == metrics_of(run)["val_mae"]
