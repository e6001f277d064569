"""Features computed once for a fit: a frozen image tower gives the same features in every epoch."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from numclip_lightning.data.base.datamodule import OrdinalDataModule, Split
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.samples import Samples, encode_share, gather_by_index
from numclip_lightning.progress import watched
from numclip_lightning.runs.feature_files import (
    about_features,
    feature_file,
    read_features,
    stamps_of,
    write_features,
)
from numclip_lightning.runs.focus import Focus
from numclip_lightning.runs.trainer import uses_whole_split

__all__ = ["KeepFeatures"]

_log = logging.getLogger(__name__)

_GIGABYTE = 1e9


class KeepFeatures(Callback):
    """Encodes the images of a fit once, if the image tower is frozen and the images are the same in every epoch.

    After that, batches contain features and no images: no image is decoded or encoded again. This applies to validation
    images, and to training images without augmentation (`data.augment: false`). Results are the same up to rounding.
    Each process encodes its share and keeps all features.

    Args:
        enabled: Whether to encode images once.
        most_gigabytes: The most memory that the features of a split may take in a process, in 10^9 bytes, 0 or more; a
            larger split is encoded in every epoch.
        folder: Where features are kept for other runs with the same image tower, preprocessing and files; None keeps
            them for this fit alone. `numclip features` fills it; a test reads what is there.

    Raises:
        ConfigError: If `most_gigabytes` is negative or NaN.
    """

    def __init__(self, enabled: bool = True, most_gigabytes: float = 4.0, folder: str | None = None) -> None:
        if math.isnan(most_gigabytes) or most_gigabytes < 0:
            raise ConfigError(f"features.most_gigabytes is {most_gigabytes}; give a number of 0 or more.")
        self.enabled = enabled
        self.most_bytes = most_gigabytes * _GIGABYTE
        self.folder = None if folder is None else Path(folder).expanduser()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Offer the datamodule to encode its splits; it does so when the weights are on their device."""
        data: Any = getattr(trainer, "datamodule", None)
        if not isinstance(data, OrdinalDataModule):
            return
        data.keep_features(None)  # those of a fit that was stopped
        if not (self.enabled and isinstance(pl_module, OrdinalMethod)):
            return
        # Kept features have no places of things beside them.
        if pl_module.learning_rates.image_encoder != 0 or getattr(data, "places", False):
            return
        if stage == "fit":
            data.keep_features(partial(self._encode, trainer, pl_module, data))
            return
        # A focus reads the places of an image, not its feature.
        focused = any(isinstance(callback, Focus) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        if stage in ("validate", "test") and self.folder is not None and not focused:
            data.keep_features(partial(self._read, trainer, pl_module, data, self.folder))

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Free the memory; the datamodule may be used with another method next."""
        data: Any = getattr(trainer, "datamodule", None)
        if isinstance(data, OrdinalDataModule):
            data.keep_features(None)

    def _encode(
        self, trainer: L.Trainer, method: OrdinalMethod, data: OrdinalDataModule, split: Split
    ) -> Tensor | None:
        """Return the features of a split, (N, ...), or None if they are not to be kept."""
        if not uses_whole_split(trainer, split):
            return None
        start, total = time.monotonic(), len(data.labels(split))
        file, stamps = None, None
        if self.folder is not None:
            images: Any = data.dataset(split)
            file = feature_file(self.folder, method, images, str(trainer.precision))
            kept = read_features(file, total) if file else None
            # All processes read, or all encode together.
            if all(trainer.strategy.broadcast(kept is not None, src) for src in range(trainer.world_size)):
                _log.info("features: those of %d %s images are read from %s", total, split, file)
                return kept
            if file and trainer.is_global_zero:
                # Before the first image is read: what changes meanwhile is another file's.
                stamps = stamps_of(images.files)
        dataset: Any = data.cached_dataset(split)
        # The order of the training images must not depend on whether features are kept.
        with isolate_rng(), _reading(method, split):
            batches = encode_share(method, dataset, data.batch_size, data.num_workers)
            with closing(batches):
                parts = self._within_limit(batches, split, total, trainer.world_size)
        if parts is None:
            return None
        features = gather_by_index(parts).features
        _log.info(
            "features: the image tower is frozen, %d %s images encoded once in %.1f s, %s",
            total, split, time.monotonic() - start, _size(features.numel() * features.element_size()),
        )  # fmt: skip
        if file is not None and trainer.is_global_zero:
            about = about_features(method, dataset, split, str(trainer.precision))
            write_features(file, features, about, stamps)
        return features

    def _read(
        self, trainer: L.Trainer, method: OrdinalMethod, data: OrdinalDataModule, folder: Path, split: Split
    ) -> Tensor | None:
        """Return the features of a split if they are on disk, else None: one pass gains nothing by writing them."""
        file = feature_file(folder, method, data.dataset(split), str(trainer.precision))
        kept = read_features(file, len(data.labels(split))) if file else None
        if not all(trainer.strategy.broadcast(kept is not None, src) for src in range(trainer.world_size)):
            return None
        _log.info("features: those of %d %s images are read from %s", len(data.labels(split)), split, file)
        return kept

    def _within_limit(
        self, batches: Iterator[Samples], split: Split, total: int, processes: int
    ) -> list[Samples] | None:
        """Encode all batches; return None if the first shows that they would take too much memory."""
        first = next(batches)
        needed = first.num_bytes / len(first.index) * total
        if needed > self.most_bytes:
            _log.warning(
                "features: those of %d %s images would take %s, more than features.most_gigabytes=%g; "
                "the images are encoded in every epoch",
                total, split, _size(needed), self.most_bytes / _GIGABYTE,
            )  # fmt: skip
            return None
        rest = math.ceil(total / processes / len(first.index)) - 1
        return [first, *watched(batches, rest, f"encoding {split} images", "batch")]


def _size(num_bytes: float) -> str:
    """Format a number of bytes."""
    return f"{num_bytes / 1e6:.1f} MB"


@contextmanager
def _reading(method: OrdinalMethod, split: Split) -> Iterator[None]:
    """Encode as the steps on a split do: training images are looked at once, others as often as the method says."""
    before = method.training
    method.train(split == "train")
    try:
        yield
    finally:
        method.train(before)
