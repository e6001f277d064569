"""Writing the images of lists as tar shards of WebDataset, with the index of each shard beside it."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.label import Label
from numclip_lightning.data.base.lookup import find_files
from numclip_lightning.data.base.tar_index import INDEX_SUFFIX, index_shard, read_index, write_index
from numclip_lightning.data.base.tar_store import library
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.progress import watched

__all__ = ["pack_split"]


def pack_split(data: FileDataModule, split: Split, folder: Path, size: int) -> tuple[int, int]:
    """Write a split as `SPLIT-000000.tar` and so on; shards that are there already are not written again.

    The bytes of the image files are not changed. A sample has the image and a `.json` with its path, and where the list
    has them its number and group.

    Args:
        data: Lists of images in files.
        split: Which of them.
        folder: It is made.
        size: Images of a shard, 1 or more.

    Returns:
        How many images and shards the split has.

    Raises:
        ConfigError: If an image has several numbers or only a part of it is used, which shards don't have; or if a
            shard that is there has other images or numbers.
        DataError: If an image can't be read.
    """
    labels = data.labels(split)
    files = find_files(data.root, labels).files
    firsts = range(0, len(labels), size)
    folder.mkdir(parents=True, exist_ok=True)
    for number, first in enumerate(watched(firsts, len(firsts), f"packing {split} images", "shard")):
        place, own = folder / f"{split}-{number:06d}.tar", range(first, min(first + size, len(labels)))
        if place.is_file() and place.with_name(place.name + INDEX_SUFFIX).is_file():
            _require_same(place, [labels[index] for index in own], [files[index] for index in own])
            continue
        part = place.with_name(f"{place.name}.part")
        with part.open("wb") as stream, library().TarWriter(stream) as writer:
            for index in own:
                writer.write(_sample(index, labels[index], files[index]))
        index_of_shard = index_shard(part, str(place), "target")
        part.replace(place)
        # The index comes last: a shard without one is not whole.
        write_index(place.with_name(place.name + INDEX_SUFFIX), index_of_shard, "target")
    return len(labels), len(firsts)


def _require_same(place: Path, labels: Sequence[Label], files: Sequence[Path]) -> None:
    """Refuse a shard of another list, another number of images, or of images that have changed since."""
    if what := _difference(place, labels, files):
        raise ConfigError(f"{place} {what}: it was packed from other data; give an empty folder, or remove the shard.")


def _difference(place: Path, labels: Sequence[Label], files: Sequence[Path]) -> str:
    """Return what differs between a shard and what would be written now; empty if nothing does."""
    status = place.stat()
    known = read_index(place.with_name(place.name + INDEX_SUFFIX).read_bytes(), "target", status.st_size)
    if known is None:
        return "has another size than when it was written"
    if len(known.paths) != len(labels):
        return f"has {len(known.paths)} images where there would be {len(labels)}"
    for label, file, path, target, size in zip(labels, files, known.paths, known.targets, known.sizes, strict=True):
        if path != label.path:
            return f"has the image {path} in the place of {label.path}"
        if target != label.target if label.targets else not math.isnan(target):
            return f"has another number for {path} than {label.where}"
        image = file.stat()
        if image.st_size != size or image.st_mtime_ns > status.st_mtime_ns:
            return f"has what {file} was before it changed"
    return ""


def _sample(index: int, label: Label, file: Path) -> dict[str, object]:
    if len(label.targets) > 1 or label.box is not None:
        what = "several numbers" if label.box is None else "a box"
        raise ConfigError(f"{label.where}: {label.path} has {what}, which a shard can't hold; keep such data as lists.")
    about = {"path": label.path} | dict(_known(label))
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{label.where}: {file} can't be read: {error.strerror}") from error
    return {
        "__key__": f"{index:09d}",
        file.suffix.lower().removeprefix("."): content,
        "json": json.dumps(about).encode(),
    }


def _known(label: Label) -> Iterator[tuple[str, object]]:
    if label.targets:
        yield "target", label.target
    if label.group is not None:
        yield "group", label.group
