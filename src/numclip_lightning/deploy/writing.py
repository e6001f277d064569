"""Predictions of any number of images on disk, written as they are computed."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch

from numclip_lightning.deploy.inputs import Named, named_images
from numclip_lightning.deploy.prediction import Prediction
from numclip_lightning.deploy.predictor import OnError, OrdinalPredictor
from numclip_lightning.errors import ConfigError
from numclip_lightning.shards import Done, Range, ShardFolder, ShardWriter

__all__ = ["identity_of", "write_predictions"]


def write_predictions(
    predictor: OrdinalPredictor,
    images: Any,
    folder: str | os.PathLike[str],
    *,
    shard_size: int = 100_000,
    on_error: OnError = "raise",
) -> Done:
    """Predict images and write rows as shards of Parquet, as `numclip predict --format=parquet` does.

    No more than a batch is held at a time. If it is stopped or killed, the same call goes on: images whose rows are in
    the folder are passed over without being read.

    Args:
        predictor: The predictor.
        images: As for a call of the predictor; the same ones in the same order when it goes on.
        folder: Where shards are written; a new one, or one of the same predictor and images.
        shard_size: The most images of a shard.
        on_error: What to do with an image that can't be read: `raise`, which keeps the rows of the batches before, or
            `skip` it, which is logged.

    Returns:
        What the folder holds.

    Raises:
        ConfigError: If the folder holds something else, or `shard_size` is less than 1.
        DataError: If an image can't be read.

    Example:
        >>> import tempfile
        >>> predictor = OrdinalPredictor.load("mini")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_predictions(predictor, [torch.zeros(3, 64, 64)] * 3, folder).rows
        3
    """
    if shard_size < 1:
        raise ConfigError(f"shard_size is {shard_size}; give the most images of a shard, 1 or more.")
    shards = ShardFolder(Path(folder))
    left = _left(named_images(images), shards.open(identity_of(predictor), None), dict(shards.first_paths()))
    try:
        _write(predictor, left, shards, shard_size, on_error)
        return shards.done()
    finally:
        shards.close()


def _write(
    predictor: OrdinalPredictor,
    left: Iterator[tuple[int, Named]],
    shards: ShardFolder,
    shard_size: int,
    on_error: OnError,
) -> None:
    reasons: dict[str, str] = {}
    # The images since the last one that could be read, and this one.
    pending: list[tuple[int, str]] = []

    def feed() -> Iterator[Named]:
        for index, image in left:
            pending.append((index, image.name))
            yield image

    readable = predictor.readable(feed(), on_error, reasons)
    writer: ShardWriter | None = None
    try:
        while True:
            rows: list[tuple[int, str, torch.Tensor]] = []
            skipped: dict[int, tuple[str, str]] = {}
            for name, tensor in islice(readable, predictor.batch_size):
                *unread, (index, _) = pending
                skipped |= {other: (path, reasons[path]) for other, path in unread}
                pending.clear()
                rows.append((index, name, tensor))
            if not rows:
                skipped |= {other: (path, reasons[path]) for other, path in pending}
            found = _predicted(predictor, rows)
            if found and writer is None:
                writer = ShardWriter(shards.folder, list(found[0].to_row()), shard_size)
            if skipped and writer is None:
                # No image was left that could be read, so that the columns are those of before, or not known.
                writer = ShardWriter(shards.folder, shards.heading() or ["path", "value"], shard_size)
            if writer is not None:
                cells = (_cells(one.to_row().values()) for one in found)
                writer.append(zip((index for index, _, _ in rows), cells, strict=True), skipped)
            if not rows:
                return
    finally:
        if writer is not None:
            writer.close()


def _predicted(predictor: OrdinalPredictor, rows: list[tuple[int, str, torch.Tensor]]) -> list[Prediction]:
    if not rows:
        return []
    return predictor.predictions(torch.stack([tensor for _, _, tensor in rows]), [name for _, name, _ in rows])


def _cells(values: Iterable[Any]) -> list[str]:
    return [value if isinstance(value, str) else "" if value is None else repr(value) for value in values]


def _left(images: Iterator[Named], todo: list[Range], known: dict[int, str]) -> Iterator[tuple[int, Named]]:
    """Yield the images that have no row yet, with their places.

    Raises:
        ConfigError: If images that have one are others than before.
    """
    wanted = chain.from_iterable(iter(range(start, end or 2**62)) for start, end in todo)
    place = next(wanted, None)
    for index, image in enumerate(images):
        if known.get(index, image.name) != image.name:
            raise ConfigError(
                f"image {index} is {image.name}, but the folder has the rows of other images ({known[index]} there); "
                "give another folder, or the same images in the same order."
            )
        if index == place:
            place = next(wanted, None)
            yield index, image


def identity_of(predictor: OrdinalPredictor) -> dict[str, Any]:
    """Return what predictions depend on beside the images, as plain values by the names that a message has for them."""
    weights = hashlib.sha256()
    for half in (predictor.halves.encoder, predictor.halves.decoder):
        for name, tensor in half.state_dict().items():
            numbers = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            weights.update(name.encode())
            weights.update(numbers.data)
    return {
        "model": weights.hexdigest(),
        "scale": predictor.scale.to_dict(),
        "preprocessing": predictor.recipe.to_dict(),
        "precision": predictor.precision,
        "calibration": repr(predictor.calibration),
    }
