"""The bar of a fit reads the loss now and then, as on a GPU each reading waits for it, and says how long is left."""

import re
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


class Slow(L.Callback):
    """Each training batch takes ten seconds by the clock of the bar."""

    def __init__(self, now: list[float]) -> None:
        self.now = now

    def on_train_batch_start(self, *args: Any) -> None:
        self.now[0] += 10


@pytest.mark.parametrize(
    ("length", "expected"),
    [({"max_epochs": 3}, ["1 min", "30 s", ""]), ({"max_epochs": 9, "max_steps": 8}, ["50 s", "20 s", ""])],
)
def test_a_log_says_how_long_the_fit_goes_on(
    length: dict[str, Any],
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    now = [0.0]
    monkeypatch.setattr("numclip_lightning.runs.progress.time.monotonic", lambda: now[0])
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False,
        callbacks=[Slow(now), progress.Progress()], default_root_dir=tmp_path, **length,
    )  # fmt: skip
    trainer.fit(L1Regression(**TINY), loader(bright(TARGETS * 3)), loader(bright(TARGETS)))
    lines = re.findall(r"^epoch (\d+).*?(?:; (.*) left)?$", capsys.readouterr().out, re.M)
    assert [left for _, left in lines] == expected


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
