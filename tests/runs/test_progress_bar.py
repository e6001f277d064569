"""The bar of a fit reads the loss now and then, not in every step: on a GPU each reading waits for it."""

from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import TQDMProgressBar

from numclip_lightning.runs import progress


def test_the_loss_is_read_twice_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(TQDMProgressBar, "get_metrics", lambda *_: {"v_num": "abcd", "val_mae": 3.0})
    bar, nothing = progress.Progress(), Any
    assert bar.get_metrics(nothing, nothing) == {"val_mae": 3.0}  # type: ignore[arg-type]
    seen = []
    for step in range(11):
        now[0] = step / 10
        bar._loss = torch.tensor(float(step))
        seen.append(bar.get_metrics(nothing, nothing)["loss"])  # type: ignore[arg-type]
    assert seen == [0, 0, 0, 0, 0, 5, 5, 5, 5, 5, 10]
