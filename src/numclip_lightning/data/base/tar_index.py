"""What tar shards of WebDataset hold: where each image lies in its shard, and its number."""

import hashlib
import io
import tarfile
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from numclip_lightning.data.base.parsing import parse_target
from numclip_lightning.data.base.tables import LONGEST_LINE
from numclip_lightning.data.base.vectors import UNREADABLE_ARRAYS
from numclip_lightning.errors import DataError, shown
from numclip_lightning.images.folders import IMAGE_SUFFIXES
from numclip_lightning.plain import parse_json

__all__ = ["INDEX_SUFFIX", "ShardIndex", "ShardPlaces", "index_shard", "name_of", "read_index", "write_index"]

INDEX_SUFFIX = ".index.npz"
"""What follows the name of a shard whose index lies beside it."""
_FORMAT = 1


@dataclass(frozen=True)
class ShardIndex:
    """The samples of one shard, in its order.

    Attributes:
        paths: The name of each image: `path` of its JSON, or its name in the shard.
        offsets: Where the bytes of each image begin, int64 (N,).
        sizes: How many they are, int64 (N,).
        targets: The number of each image, float64 (N,); NaN for all of a shard without labels.
        num_bytes: The size of the shard.
        time_ns: The time of its last change, 0 where it lies behind a URL.
    """

    paths: Sequence[str]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    targets: npt.NDArray[np.float64]
    num_bytes: int
    time_ns: int

    @classmethod
    def of(cls, samples: Iterable[tuple[str, int, int, float]], num_bytes: int, time_ns: int) -> Self:
        """Make one of samples: path, offset, size and target of each."""
        paths, offsets, sizes, targets = zip(*samples, strict=True)
        starts, lengths = (np.array(column, dtype=np.int64) for column in (offsets, sizes))
        return cls(paths, starts, lengths, np.array(targets, dtype=np.float64), num_bytes, time_ns)


class ShardPlaces(NamedTuple):
    """Where the images of several shards lie, one after the other; tensors, which loading processes share.

    Attributes:
        urls: The shards, S of them.
        counts: The images of each.
        offsets: Where the bytes of each image begin in its shard, (N,) int64.
        sizes: How many they are, (N,) int64.
    """

    urls: Sequence[str]
    counts: Sequence[int]
    offsets: Tensor
    sizes: Tensor

    @classmethod
    def of(cls, urls: Sequence[str], indices: Sequence[ShardIndex]) -> Self:
        """Join the indices of shards."""
        offsets, sizes = (np.concatenate([getattr(index, name) for index in indices]) for name in ("offsets", "sizes"))
        counts = [len(index.offsets) for index in indices]
        return cls(urls, counts, torch.from_numpy(offsets), torch.from_numpy(sizes))


def name_of(url: str) -> str:
    """Return a name for what belongs to a shard in a folder that other shards share."""
    return f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{Path(url).name}"


def index_shard(file: Path, url: str, field: str) -> ShardIndex:
    """Read the headers and labels of a shard; images are passed over.

    Files of one name but for the suffix are a sample, as WebDataset has it: an image, and a number in `.json`, below
    `field`, or as the text of `.cls` or `.txt`.

    Args:
        file: The shard, here.
        url: What messages call it.
        field: The name of the number in `.json`.

    Raises:
        DataError: If it is no plain tar, an image has no number and others have, or a number is none.
    """
    samples, key, parts = list[tuple[str, int, int, float]](), "", dict[str, tarfile.TarInfo]()
    try:
        with tarfile.open(file, "r:") as shard:
            for member in [*shard.getmembers(), None]:
                name = member.name if member else ""
                folder, _, last = name.rpartition("/")
                stem, _, suffix = last.partition(".")
                own = f"{folder}/{stem}" if folder else stem
                if own != key or member is None:
                    samples += _sample(shard, key, parts, url, field)
                    key, parts = own, {}
                if member is not None and member.isfile() and stem:
                    parts[f".{suffix.lower()}"] = member
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{url} can't be read as a plain tar: {error}; pack it again, without compression.") from error
    if not samples:
        raise DataError(f"{url} has no images ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    status = file.stat()
    index = ShardIndex.of(samples, status.st_size, 0 if "://" in url else status.st_mtime_ns)
    unknown = np.isnan(index.targets)
    if unknown.any() and not unknown.all():
        raise DataError(
            f"{url}: {index.paths[int(unknown.argmax())]} has no number, but others have: label all or none"
        )
    return index


def _sample(
    shard: tarfile.TarFile, key: str, parts: dict[str, tarfile.TarInfo], url: str, field: str
) -> list[tuple[str, int, int, float]]:
    """Return the image of a sample; nothing if it has none."""
    images = [suffix for suffix in parts if suffix in IMAGE_SUFFIXES]
    if not images:
        return []
    if len(images) > 1:
        raise DataError(f"{url}: {key} has several images ({', '.join(images)}); give each a name of its own.")
    image, path, target = parts[images[0]], parts[images[0]].name, float("nan")
    about = _json(shard, parts[".json"], f"{url}: {key}.json") if ".json" in parts else {}
    path = str(about.get("path", path))
    where = f"{url}: {key}"
    if about.get(field) is not None:
        target = parse_target(str(about[field]), where)
    elif label := next((parts[suffix] for suffix in (".cls", ".txt") if suffix in parts), None):
        target = parse_target(_content(shard, label).decode("utf-8", "replace").strip(), where)
    return [(path, image.offset_data, image.size, target)]


def _json(shard: tarfile.TarFile, member: tarfile.TarInfo, where: str) -> dict[str, Any]:
    try:
        found = parse_json(_content(shard, member))
    except ValueError as error:
        raise DataError(f"{where} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f'{where} holds {shown(str(found))}; give an object, such as {{"target": 31}}.')
    return found


def _content(shard: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    # A tar can claim gigabytes of zeros that it does not have.
    if member.size > LONGEST_LINE:
        raise tarfile.TarError(f"{member.name} has {member.size:,} bytes, more than a label has ({LONGEST_LINE:,})")
    found = shard.extractfile(member)
    return b"" if found is None else found.read()


def write_index(place: Path, index: ShardIndex, field: str) -> None:
    """Write an index whole or not at all; two processes that write the same one both succeed.

    Args:
        place: The file.
        index: The index.
        field: The name of the number in `.json` that it was made with.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    names = np.frombuffer("\0".join(index.paths).encode("utf-8", "surrogateescape"), dtype=np.uint8)
    about = np.array([_FORMAT, index.num_bytes, index.time_ns], dtype=np.int64)
    # A name of its own: processes of one run may write the same index at a time.
    part = place.with_name(f"{place.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            np.savez(file, about=about, field=np.array(field), names=names, offsets=index.offsets, sizes=index.sizes,
                     targets=index.targets)  # fmt: skip
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)


def read_index(content: bytes, field: str, num_bytes: int | None) -> ShardIndex | None:
    """Read an index.

    Args:
        content: The bytes of its file.
        field: The name of the number in `.json`.
        num_bytes: The size of the shard; None if that is not known.

    Returns:
        The index; None if it is of another shard, field or format, or damaged.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            known, size, time_ns = found["about"].tolist()
            if known != _FORMAT or str(found["field"]) != field or num_bytes not in (None, size):
                return None
            paths = found["names"].tobytes().decode("utf-8", "surrogateescape").split("\0")
            return ShardIndex(paths, found["offsets"], found["sizes"], found["targets"], size, time_ns)
    except UNREADABLE_ARRAYS:
        return None
