"""The names that all of `data/` shares: splits, batches, and what checkpoints are selected on."""

from typing import Literal

from torch import Tensor

__all__ = ["Batch", "SelectOn", "Split"]

Batch = dict[str, Tensor]
Split = Literal["train", "val", "test", "predict"]
SelectOn = Literal["val", "test"]
