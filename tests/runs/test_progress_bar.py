"""The bar of a fit reads the loss now and then, as on a GPU each reading waits for it, and says how long is left."""

import re
import statistics
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import TQDMProgressBar

from numclip_lightning.methods import L1Regression
from numclip_lightning.runs import progress
from support.tiny_fit import TARGETS, TINY, bright, loader


def test_the_loss_is_read_twice_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(TQDMProgressBar, "get_metrics", lambda *_: {"v_num": "abcd", "val_mae": 3.0})
    bar, nothing = progress.Progress(), SimpleNamespace(training=False)
    assert bar.get_metrics(nothing, nothing) == {"val_mae": 3.0}  # type: ignore[arg-type]
    seen = []
    for step in range(11):
        now[0] = step / 10
        bar._loss = torch.tensor(float(step))
        seen.append(bar.get_metrics(nothing, nothing)["loss"])  # type: ignore[arg-type]
    assert seen == [0, 0, 0, 0, 0, 5, 5, 5, 5, 5, 10]


@pytest.mark.parametrize(("within", "shown"), [(True, ("Epoch 2", 6)), (False, ("Training", None))])
def test_a_fit_that_is_resumed_within_an_epoch_says_which(within: bool, shown: tuple[str, int | None]) -> None:
    loop = SimpleNamespace(restarted_mid_epoch=within, epoch_loop=SimpleNamespace(total_batch_idx=14))
    trainer: Any = SimpleNamespace(fit_loop=loop, current_epoch=2, max_epochs=4, num_training_batches=6)
    bar = progress.Progress()
    bar._trainer = trainer
    bar.enable()
    bar._losses, bar._steps = torch.tensor(99.0), 1
    bar.on_train_start(trainer, L1Regression(**TINY))
    assert (bar.train_progress_bar.desc.strip(": "), bar.train_progress_bar.total) == shown
    assert bar._steps == (0 if within else 1)
    bar.train_progress_bar.close()


class Slow(L.Callback):
    """Each training batch takes ten seconds by the clock of the bar."""

    def __init__(self, now: list[float]) -> None:
        self.now = now

    def on_train_batch_start(self, *args: Any) -> None:
        self.now[0] += 10


class Third(L.Callback):
    """Ends a fit without an end of its own after three epochs."""

    def on_train_epoch_end(self, trainer: L.Trainer, *args: Any) -> None:
        trainer.should_stop |= trainer.current_epoch == 2


def left_in_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, *more: L.Callback, **length: Any
) -> list[str]:
    """Fit with batches of ten seconds, three an epoch, and return the time that each epoch's line says is left."""
    now = [0.0]
    monkeypatch.setattr("numclip_lightning.runs.progress.time.monotonic", lambda: now[0])
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False,
        callbacks=[Slow(now), Third(), progress.Progress(), *more], default_root_dir=folder, **length,
    )  # fmt: skip
    trainer.fit(L1Regression(**TINY, lr_scheduler=None), loader(bright(TARGETS * 3)), loader(bright(TARGETS)))
    lines = re.findall(r"^epoch (\d+).*?(?:; (.*) left)?$", capsys.readouterr().out, re.M)
    return [left for _, left in lines]


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        ({"max_epochs": 3}, ["1 min", "30 s", ""]),
        ({"max_epochs": 9, "max_steps": 8}, ["50 s", "20 s", ""]),
        ({"max_epochs": 9, "max_time": {"seconds": 70}}, ["40 s", "10 s", ""]),
        ({"max_epochs": -1, "max_time": "00:00:00:40"}, ["10 s", ""]),
        ({"max_epochs": 9, "max_time": {"seconds": 40}, "min_epochs": 3}, ["1 min", "30 s", ""]),
        ({"max_epochs": -1}, [""] * 3),
    ],
)
def test_a_log_says_how_long_the_fit_goes_on(
    length: dict[str, Any],
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert left_in_log(monkeypatch, capsys, tmp_path, **length) == expected


def test_a_fit_that_may_stop_early_goes_on_at_most_as_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    stop = L.pytorch.callbacks.EarlyStopping("val_mae", patience=5)
    assert left_in_log(monkeypatch, capsys, tmp_path, stop, max_epochs=2) == ["at most 30 s", ""]


class Losses(L.Callback):
    """Keeps the loss of every step, by epoch."""

    def __init__(self) -> None:
        self.kept: dict[int, list[float]] = {}

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, *args: Any) -> None:
        self.kept.setdefault(trainer.current_epoch, []).append(float(outputs["loss"]))


def test_a_log_has_the_mean_loss_of_each_epoch(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    losses = Losses()
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False, max_epochs=2,
        callbacks=[losses, progress.Progress()], default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(L1Regression(**TINY, lr_scheduler=None), loader(bright(TARGETS * 3)), loader(bright(TARGETS)))
    said = [float(loss) for loss in re.findall(r"^epoch \d of 2: loss ([\d.]+)", capsys.readouterr().out, re.M)]
    assert said == pytest.approx([statistics.fmean(epoch) for epoch in losses.kept.values()], rel=1e-3)
    assert len(set(losses.kept[0])) > 1, "no two steps are alike"


def test_a_log_says_how_long_a_test_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("numclip_lightning.runs.progress.time.monotonic", lambda: now[0])
    bar, trainer = progress.Progress(), SimpleNamespace(is_global_zero=True, sanity_checking=False)
    # The first batch waits for loading processes, which says nothing of the others.
    for batch, seconds in enumerate((500, 20, 20, 20)):
        now[0] += seconds
        bar._say_evaluated(trainer, "test", (None, None, None, batch), [200])  # type: ignore[arg-type]
    lines = [line for line in capsys.readouterr().out.splitlines() if "left" in line]
    assert lines == ["test: 3 of 200 batches; 1 h 5 min left"]
