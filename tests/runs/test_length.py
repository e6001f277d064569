"""How long a fit takes: steps in whole epochs, known to the schedule; and until validation stops improving."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base import LearningRates
from numclip_lightning.methods.numclip_plus import NumCLIPPlus
from numclip_lightning.methods.sord import SORD
from numclip_lightning.runs.length import FitLength, StopEarly, epochs_for
from support.command import SIZES, Numclip, failure, metrics_of, rows_of
from support.tiny_fit import TARGETS, TINY, bright, loader, quiet_trainer

# 21 training images in batches of 8.
PER_EPOCH = math.ceil(SIZES["train"] / 8)


@pytest.mark.parametrize(
    ("words", "epochs", "steps"),
    [
        (["--length.steps=7"], 3, 9),
        (["--length={steps: 1, min_epochs: 9}", "--trainer.max_epochs=2"], 2, 6),
        (["--length={steps: 1, min_epochs: 2}", "--trainer.limit_train_batches=1", "--trainer.max_epochs=-1"], 2, 2),
        (
            [
                "--length.steps=2",
                "--trainer.accumulate_grad_batches=2",
                "--trainer.limit_train_batches=0.4",
                "--compute.accumulate_contrasts=true",
            ],
            2,
            2,
        ),
    ],
)
def test_a_fit_has_the_steps_in_whole_epochs_and_the_schedule_knows(
    words: list[str], epochs: int, steps: int, numclip: Numclip
) -> None:
    schedule = ["--model.lr_scheduler.name=OneCycleLR", "--model.lr_scheduler.interval=step"]
    run = numclip("fit", "--trainer.max_epochs=6", "--trainer.limit_val_batches=1", *schedule, *words)
    assert [row["epoch"] for row in rows_of(run / "metrics.csv") if row["val_mae"]] == [str(i) for i in range(epochs)]
    kept = torch.load(metrics_of(run)["best_checkpoint"], weights_only=True)
    assert kept["lr_schedulers"][0]["total_steps"] == steps


def test_the_steps_are_those_of_all_images() -> None:
    assert epochs_for(7, PER_EPOCH, 1, 6) == 3
    assert epochs_for(3000, 8, 10, 60) == 60
    assert epochs_for(3000, 782, 10, 60) == 10
    assert epochs_for(3000, 100, 10, 60) == 30
    assert epochs_for(3000, 100, 10, math.inf) == 30


@pytest.mark.slow
def test_synthetic_images_are_steps_too(numclip: Numclip, data: Path) -> None:
    counts = Counter(line.split()[1] for line in (data / "train.txt").read_text(encoding="utf-8").splitlines())
    # Every value is filled up to the most frequent one.
    per_epoch = math.ceil(len(counts) * max(counts.values()) / 8)
    assert per_epoch > PER_EPOCH
    frozen = ["--model.learning_rates.image_encoder=0", "--data.augment=false", "--data.oversample={to: 1, width: 3}"]
    run = numclip("fit", "--trainer.max_epochs=50", f"--length.steps={per_epoch + 1}", *frozen)
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2 * per_epoch


def test_images_of_no_datamodule_are_not_counted() -> None:
    trainer = quiet_trainer(max_epochs=1, callbacks=[FitLength(steps=3)])
    with pytest.raises(ConfigError, match=r"length\.steps counts the training images; fit with a datamodule"):
        trainer.fit(SORD(**TINY), loader(bright(TARGETS)), loader(bright(TARGETS)))


def test_a_fit_stops_when_validation_no_longer_improves(numclip: Numclip) -> None:
    # Rates of next to nothing: no epoch is better than the first.
    rates = ["--model.learning_rates={image_encoder: 1e-30, adapter: 0, context: 0, phrases: 0, head: 0}"]
    run = numclip("fit", "--trainer.max_epochs=9", *rates, "--early_stopping.patience=2", "--test_after_fit=true")
    epochs = [row["epoch"] for row in rows_of(run / "metrics.csv") if row["val_mae"]]
    assert epochs == ["0", "1", "2"]
    assert Path(metrics_of(run)["best_checkpoint"]).name == "best.ckpt"
    assert torch.load(metrics_of(run)["best_checkpoint"], weights_only=True)["epoch"] == 0
    assert "test_mae" in metrics_of(run)


@pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")
def test_patience_is_not_lost_in_an_epoch_that_trains_nothing() -> None:
    still: dict[str, Any] = {"learning_rates": LearningRates(1e-30, 0, 0, 0, 1e-30), "lr_scheduler": None}
    start = NumCLIPPlus(**TINY, **still, spread=2.0, strengths=[0.1])
    for method, steps in ((SORD(**TINY, **still), 3), (start, len(TARGETS) + 2)):
        (stop,) = StopEarly(patience=2).callbacks()
        assert stop.state_key == EarlyStopping("val_mae").state_key
        trainer = quiet_trainer(max_epochs=3, val_check_interval=0.25, callbacks=[stop])
        trainer.fit(method, loader(bright(TARGETS), 1), loader(bright(TARGETS)))
        assert trainer.global_step == steps


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (FitLength, {"steps": 0}, "length.steps is 0"),
        (FitLength, {"steps": 5, "min_epochs": 0}, "length.min_epochs is 0"),
        (StopEarly, {"patience": 0}, "early_stopping.patience is 0"),
        (StopEarly, {"patience": 1, "min_delta": -1.0}, "early_stopping.min_delta is -1.0"),
        (StopEarly, {"patience": 1, "min_delta": math.nan}, "early_stopping.min_delta is nan"),
    ],
)
def test_wrong_arguments_are_refused(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**arguments)


def test_a_wrong_flag_is_a_message(numclip: Numclip, capsys: pytest.CaptureFixture[str]) -> None:
    assert failure("fit", *numclip.flags, "--early_stopping.patience=0") == 2
    assert "early_stopping.patience is 0; give 1 or more, or null" in capsys.readouterr().err
