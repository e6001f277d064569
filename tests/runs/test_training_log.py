"""The speed that is logged of training steps, where a fit is resumed within an epoch."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from numclip_lightning.runs.training_log import LogTraining


def test_the_first_row_after_a_resume_within_an_epoch_has_the_speed_since_then() -> None:
    """Lightning calls no `on_train_epoch_start` there."""
    rows: list[dict[str, float]] = []
    logger = SimpleNamespace(log_metrics=lambda found, **_: rows.append(found))
    trainer: Any = SimpleNamespace(log_every_n_steps=1, global_step=10, current_epoch=1, world_size=2, loggers=[logger])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    nothing: Any = None
    steps: Any = SimpleNamespace(norm=torch.tensor(3.0))
    callback, began = LogTraining(steps), time.monotonic()
    callback.on_train_start(trainer, nothing)
    callback.on_before_optimizer_step(trainer, nothing, optimizer)
    time.sleep(0.01)
    callback.on_train_batch_end(trainer, nothing, nothing, {"target": torch.zeros(4)}, 3)
    assert rows[0]["images_per_second"] == pytest.approx(8 / (time.monotonic() - began), rel=0.5)
    assert (rows[0]["lr/0"], rows[0]["grad_norm"], rows[0]["epoch"]) == (0.5, 3, 1)
