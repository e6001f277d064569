"""Which pixels a datamodule keeps decoded: those of each split, as each transform takes them, once."""

import logging
from pathlib import Path
from typing import Any

from numclip_lightning.data.base.types import Split
from numclip_lightning.images.pixel_cache import PixelCache

__all__ = ["KeptPixels"]

_log = logging.getLogger(__name__)


class KeptPixels:
    """The caches of a datamodule, by split and settings of the transform."""

    def __init__(self) -> None:
        self._caches: dict[tuple[Split, object], PixelCache | None] = {}

    def give(self, dataset: Any, split: Split, folder: Path | None, most_bytes: float) -> None:
        """Let a dataset read kept pixels, which are decoded now if they are not kept yet.

        Before there are loading processes: each of them would decode all images for itself.

        Args:
            dataset: An `OrdinalDataset`, or one that passes `cache` on to it. Others are left as they are, with a
                warning.
            split: Whose images it has.
            folder: See `OrdinalDataset.keep_pixels`.
            most_bytes: See there.

        Raises:
            DataError: If an image can't be read.
        """
        if not hasattr(dataset, "keep_pixels"):
            _log.warning(
                "data.cache keeps no pixels of the %s images: %s has no keep_pixels; they are decoded each time",
                split, type(dataset).__name__,
            )  # fmt: skip
            return
        kind = split, dataset.transform.settings
        if kind not in self._caches:
            dataset.keep_pixels(folder, most_bytes, split)
            self._caches[kind] = dataset.cache
        dataset.cache = self._caches[kind]
