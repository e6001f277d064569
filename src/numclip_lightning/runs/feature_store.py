"""What a folder of features holds: of which images and towers, how large, and whether it still serves a run."""

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.progress import watched
from numclip_lightning.runs.feature_files import is_whole, read_tensors
from numclip_lightning.runs.feature_parts import ABOUT, PARTS, parts_in

__all__ = ["Kept", "kept_in", "prune", "table_of"]

# A file that is being written is younger.
_ABANDONED_SECONDS = 3600


@dataclass(frozen=True)
class Kept:
    """Features on disk.

    Attributes:
        place: The file; of unfinished ones the folder of their parts.
        about: What they are of, see `feature_files.about_features`; empty if it can't be read.
        shape: Of the features; of unfinished ones as far as they are there.
        dtype: The type of their numbers.
        num_bytes: On disk.
        age: Seconds since they were written.
        finished: Whether all are there.
        fault: Why no run reads them any more; empty if they are valid, or unfinished and can be gone on with.
    """

    place: Path
    about: dict[str, Any]
    shape: tuple[int, ...]
    dtype: str
    num_bytes: int
    age: float
    finished: bool
    fault: str

    @property
    def state(self) -> str:
        """Valid, unfinished, or why not."""
        if self.fault:
            return f"stale: {self.fault}"
        done, total = self.shape[0] if self.shape else 0, self.about.get("images", "?")
        return "valid" if self.finished else f"unfinished: {done} of {total} images"


def kept_in(folder: Path) -> list[Kept]:
    """Return all features of a folder, the newest first. Every byte is read, and every image is looked at.

    Args:
        folder: The folder.

    Raises:
        ConfigError: If there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; give the one that numclip features or features.folder has written.")
    places = [*folder.glob("*.safetensors"), *folder.glob(f"*{PARTS}")]
    found = [_look(place) for place in watched(places, len(places), "reading features", "file")]
    return sorted(found, key=lambda kept: kept.age)


def _look(place: Path) -> Kept:
    unfinished = place.is_dir()
    status = place.stat()
    files = [file for file in place.iterdir() if file.is_file()] if unfinished else [place]
    num_bytes = sum(file.stat().st_size for file in files)
    age = max(0.0, time.time() - status.st_mtime)
    shape: tuple[int, ...] = ()
    dtype, about = "?", {}
    try:
        tensors, known = read_tensors(place / ABOUT if unfinished else place)
        about = json.loads(known.get("about", "{}"))
        if unfinished:
            parts = list(parts_in(place))
            features = torch.cat(parts) if parts else torch.empty(0)
        else:
            features = tensors["features"]
        shape, dtype = tuple(features.shape), str(features.dtype).removeprefix("torch.")
        broken = not unfinished and not is_whole(tensors, known)
        fault = "damaged, its numbers are others than were written" if broken else _changed(tensors)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        fault = f"can't be read ({error})"
    return Kept(place, about, shape, dtype, num_bytes, age, not unfinished, fault)


def _changed(stamps: dict[str, Tensor]) -> str:
    """Return what has become of the images since; empty if they are the same."""
    if "stamps" not in stamps:
        # Of a version that did not write them: the name of the file alone tells a run whether they are the same.
        return ""
    names = [os.fsdecode(name) for name in bytes(stamps["names"].numpy()).split(b"\0")]
    missing, changed = list[str](), list[str]()
    for name, (size, time_ns) in zip(names, stamps["stamps"].tolist(), strict=False):
        try:
            status = os.stat(name)  # noqa: PTH116  # for every image of long lists
        except OSError:
            if size >= 0:
                missing.append(name)
            continue
        if (status.st_size, status.st_mtime_ns) != (size, time_ns):
            changed.append(name)
    parts = [
        f"{len(found)} of {len(names)} images {what} (first {found[0]})"
        for what, found in (("are missing", missing), ("have changed", changed))
        if found
    ]
    return ", ".join(parts)


def prune(folder: Path, found: Iterable[Kept]) -> list[Kept]:
    """Remove stale features, and what processes that were killed have left; return the features that were removed.

    What a process is at work on is left alone.

    Args:
        folder: The folder.
        found: What it holds.
    """
    removed = [kept for kept in found if kept.fault and _remove(kept.place)]
    for left in folder.glob("*.part"):
        if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
            left.unlink(missing_ok=True)
    for lock in folder.glob("*.lock"):
        # That of a computation that goes on may be old.
        if not lock.with_suffix(".safetensors").exists() and not lock.with_suffix(PARTS).exists():
            _remove(lock)
    return removed


def _remove(place: Path) -> bool:
    """Remove a file or a folder of parts; return False if a process is at work on it."""
    try:
        with FileLock(place.with_suffix(".lock"), timeout=0):
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    except Timeout:
        return False
    return True


def table_of(found: Iterable[Kept]) -> str:
    """Return features as a table for people: a line each, and the sum."""
    rows: list[tuple[str, ...]] = [("backbone", "list", "split", "images", "numbers", "size", "age", "state")]
    total = count = 0
    for kept in found:
        total, count = total + kept.num_bytes, count + 1
        rows.append(tuple(_cells(kept)))
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*(lines if count else []), f"{count} sets of features, {_size(total)}"])


def _cells(kept: Kept) -> Iterator[str]:
    about = kept.about
    weights = about.get("pretrained")
    yield f"{about.get('backbone', '?')}" + (f" ({weights})" if weights else "")
    yield ", ".join(about.get("list") or ["?"])
    yield str(about.get("split", "?"))
    yield f"{about.get('images', kept.shape[0] if kept.shape else '?')}"
    yield f"{' x '.join(map(str, kept.shape[1:])) or '?'} {kept.dtype}"
    yield _size(kept.num_bytes)
    yield _age(kept.age)
    yield kept.state


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.2f} MB"


def _age(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
