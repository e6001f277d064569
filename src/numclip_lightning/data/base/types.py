"""Types that the whole room shares: the name of a split, and a batch."""

from typing import Literal

from torch import Tensor

__all__ = ["Batch", "Split"]

Batch = dict[str, Tensor]
"""Tensors by name; `OrdinalDataModule` describes them."""

Split = Literal["train", "val", "test", "predict"]
"""The one name for a split; a division of labelled images has the first three."""
