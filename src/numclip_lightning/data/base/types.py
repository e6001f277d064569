"""Types that the whole room shares: splits, batches, and the images that checkpoints are selected on."""

from typing import Literal

from torch import Tensor

__all__ = ["MAX_UNPACKED", "Batch", "Decode", "Leaks", "OnBadImage", "SelectOn", "Split"]

MAX_UNPACKED = 1_000_000_000
"""Bytes that a packed list or table may have: a sheet of Excel's 1,048,576 rows and ten columns has less than half."""

Batch = dict[str, Tensor]
"""Tensors by name; `OrdinalDataModule` describes them."""

Split = Literal["train", "val", "test", "predict"]
"""The one name for a split; a division of labelled images has the first three."""

SelectOn = Literal["val", "test"]
"""The images that the best checkpoint is selected on."""

Leaks = Literal["refuse", "warn"]
"""What becomes of groups, and copies of images, that two lists share."""

OnBadImage = Literal["raise", "skip"]
"""What a run does with an image that can't be read."""

Decode = Literal["whole", "reduced", "smallest"]
"""How much of a large JPEG is decoded."""
