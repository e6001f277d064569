"""Features that are computed part by part, so that a computation that was stopped goes on where it was."""

import json
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import torch
from filelock import FileLock
from safetensors import SafetensorError
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from numclip_lightning.data.base.datamodule import OrdinalDataModule, Split
from numclip_lightning.data.base.dataset import OrdinalDataset
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.progress import watched
from numclip_lightning.runs.feature_files import (
    about_features,
    feature_file,
    is_whole,
    read_features,
    read_tensors,
    stamps_of,
    write_features,
    write_tensors,
)

__all__ = ["ABOUT", "PARTS", "compute_features", "parts_in"]

_log = logging.getLogger(__name__)

PARTS = ".parts"
"""What follows the name of a file whose features are not all there yet: a folder."""
ABOUT = "about.safetensors"
"""What those features are of."""
# What is lost at most when a computation is killed.
_SECONDS = 20.0


def compute_features(
    folder: Path, trainer: L.Trainer, method: OrdinalMethod, data: OrdinalDataModule, split: Split
) -> tuple[Path, int] | None:
    """Compute the features of a split that are not on disk yet, and write them.

    Parts are written every twenty seconds and joined at the end. Two processes that want the same features wait for
    each other.

    Args:
        folder: The folder of all features.
        trainer: It has the device and the precision; it need not run.
        method: The method, whose image tower is frozen.
        data: The images.
        split: Which of them.

    Returns:
        The file, and how many images were encoded now; None for images that are in no files, and for methods with an
        encoding of their own or several looks.

    Raises:
        DataError: If an image can't be read.
    """
    dataset: Any = data.dataset(split)
    precision = str(trainer.precision)
    file = feature_file(folder, method, dataset, precision)
    if file is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        parts = file.with_suffix(PARTS)
        if read_features(file, len(dataset)) is not None:
            # A fit may have written all of them since.
            shutil.rmtree(parts, ignore_errors=True)
            return file, 0
        # Before the first image is read: what changes meanwhile is another file's.
        stamps = stamps_of(dataset.files)
        images: Any = data.cached_dataset(split)
        about = about_features(method, dataset, split, precision)
        write_tensors(parts / ABOUT, stamps, {"about": json.dumps(about)})
        done = sum(len(features) for features in parts_in(parts))
        if done:
            _log.info("features: %d of %d %s images were encoded before", done, len(dataset), split)
        encoded = _encode_rest(parts, done, trainer, method, images, data, f"encoding {split} images")
        whole = torch.cat(list(parts_in(parts)))
        write_features(file, whole, about, stamps)
        shutil.rmtree(parts, ignore_errors=True)
        return file, encoded


def parts_in(parts: Path) -> Iterator[Tensor]:
    """Yield the parts that are there, from the first image on, up to a gap or a damaged one.

    Args:
        parts: The folder of parts; it need not exist.
    """
    start = 0
    while (file := _part(parts, start)).is_file():
        try:
            tensors, known = read_tensors(file)
        except (SafetensorError, OSError):
            tensors, known = {}, {}
        features = tensors.get("features")
        if features is None or not is_whole(tensors, known):
            _log.warning("features: %s is damaged; its images are encoded again", file)
            return
        yield features
        start += len(features)


def _part(parts: Path, start: int) -> Path:
    return parts / f"{start:012d}.safetensors"


def _encode_rest(
    parts: Path,
    done: int,
    trainer: L.Trainer,
    method: OrdinalMethod,
    dataset: OrdinalDataset,
    data: OrdinalDataModule,
    what: str,
) -> int:
    """Encode the images from `done` on, write them in parts, and return how many they were."""
    rest: Any = Subset(dataset, range(done, len(dataset)))
    loader = DataLoader(rest, data.batch_size, num_workers=data.num_workers)
    batches = _encoded(trainer, method, loader)
    held, start, since = list[Tensor](), done, time.monotonic()
    total = -(-len(rest) // data.batch_size)
    for features in watched(batches, total, what, "batch"):
        held.append(features)
        if time.monotonic() - since > _SECONDS:
            start, since = _keep(parts, start, held), time.monotonic()
    _keep(parts, start, held)
    return len(rest)


def _keep(parts: Path, start: int, held: list[Tensor]) -> int:
    """Write what was encoded since the last part; return where the next one starts."""
    if not held:
        return start
    features = torch.cat(held)
    held.clear()
    write_tensors(_part(parts, start), {"features": features.contiguous()}, {})
    return start + len(features)


def _encoded(trainer: L.Trainer, method: OrdinalMethod, loader: Any) -> Iterator[Tensor]:
    precision, device = trainer.precision_plugin, trainer.strategy.root_device
    method.to(device).eval()
    with torch.inference_mode():
        for batch in loader:
            with precision.forward_context():
                features = method.encode_images(precision.convert_input(batch["image"].to(device)))
            yield features.cpu()
