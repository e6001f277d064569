"""Writing the images of lists as tar shards of WebDataset, with the index of each shard beside it."""

import json
from collections.abc import Iterator
from pathlib import Path

from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.label import Label
from numclip_lightning.data.base.lookup import find_files
from numclip_lightning.data.base.tar_index import INDEX_SUFFIX, index_shard, write_index
from numclip_lightning.data.base.tar_store import library
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.progress import watched

__all__ = ["pack_split"]


def pack_split(data: FileDataModule, split: Split, folder: Path, size: int) -> tuple[int, int]:
    """Write a split as `SPLIT-000000.tar` and so on; shards that are there already are left as they are.

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
        ConfigError: If an image has several numbers or only a part of it is used, which shards don't have.
        DataError: If an image can't be read.
    """
    labels = data.labels(split)
    files = find_files(data.root, labels).files
    firsts = range(0, len(labels), size)
    folder.mkdir(parents=True, exist_ok=True)
    for number, first in enumerate(watched(firsts, len(firsts), f"packing {split} images", "shard")):
        place = folder / f"{split}-{number:06d}.tar"
        if place.is_file() and place.with_name(place.name + INDEX_SUFFIX).is_file():
            continue
        part = place.with_name(f"{place.name}.part")
        with part.open("wb") as stream, library().TarWriter(stream) as writer:
            for index in range(first, min(first + size, len(labels))):
                writer.write(_sample(index, labels[index], files[index]))
        index_of_shard = index_shard(part, str(place), "target")
        part.replace(place)
        # The index comes last: a shard without one is not whole.
        write_index(place.with_name(place.name + INDEX_SUFFIX), index_of_shard, "target")
    return len(labels), len(firsts)


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
