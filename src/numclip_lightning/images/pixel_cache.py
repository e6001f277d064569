"""Images that are decoded and resized once, as 8-bit pixels in memory or on disk."""

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from torch import Tensor

from numclip_lightning.images.pixel_files import PixelBlocks, is_full, make_room, new_files
from numclip_lightning.progress import watched

__all__ = ["Cache", "PixelCache", "keep_pixels", "key_of"]

Cache = Literal["none", "memory", "disk"]
Pixels = npt.NDArray[np.uint8]

_log = logging.getLogger(__name__)
# Another layout of the files is another key.
_FORMAT = 1
_AT_ONCE = 256


class PixelCache(Sequence[Pixels]):
    """The pixels of images, one after the other.

    Args:
        ends: Where the pixels of each image end, (n,) int64.
        heights: Rows of each image, (n,) int64.
        pixels: All pixels, uint8; or the file with them, which every process opens for itself and none loads whole.
    """

    def __init__(self, ends: Tensor, heights: Tensor, pixels: Tensor | Path) -> None:
        # Tensors, which torch hands to spawned loading processes by shared memory.
        self._ends, self._heights, self._pixels = ends, heights, pixels
        # At once, so that forked processes have it open too, whatever becomes of the file's name.
        self._open: Pixels | None = self._opened()

    def _opened(self) -> Pixels:
        kept = self._pixels
        return kept.numpy() if isinstance(kept, Tensor) else np.memmap(kept, np.uint8, mode="r")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Pixels:  # type: ignore[override]
        """Return an image, (H, W, 3) uint8, which may not be written to.

        Raises:
            FileNotFoundError: If this process was spawned, and another run has meanwhile made room for its own images.
        """
        if self._open is None:
            self._open = self._opened()
        index = range(len(self))[index]
        start, height = int(self._ends[index - 1]) if index else 0, int(self._heights[index])
        return self._open[start : int(self._ends[index])].reshape(height, -1, 3)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": None}


def key_of(files: Sequence[Path], parts: Sequence[object], settings: object) -> str:
    """Return what a cache is found by: the files with size and time of the last change, and how pixels are made.

    Args:
        files: The image files.
        parts: What is used of each.
        settings: All that the pixels depend on beside the files, as plain values.
    """
    found = hashlib.sha256(json.dumps([_FORMAT, settings], default=str).encode())
    for file, part in zip(files, parts, strict=True):
        try:
            stamp = file.stat()
            found.update(f"{file.absolute()}\0{stamp.st_size}\0{stamp.st_mtime_ns}\0{part}\n".encode())
        except OSError:
            found.update(f"{file.absolute()}\0missing\n".encode())
    return found.hexdigest()[:32]


def keep_pixels(
    load: Callable[[int], Pixels], number: int, key: str, *, folder: Path | None, most_bytes: float, name: str
) -> PixelCache | None:
    """Load all images in threads, or find what an earlier run has kept of them.

    Two processes that want the same images wait for each other: the first makes the file, the other reads it. Files
    of a folder that were not used for longest are removed where a new one would exceed the limit, and what is damaged
    is made again.

    Args:
        load: Returns an image by its number, (H, W, 3) uint8.
        number: How many there are.
        key: See `key_of`.
        folder: Where files are kept; None keeps the pixels in memory.
        most_bytes: What all files of the folder, or the pixels in memory, may take.
        name: What the images are, for the progress bar.

    Returns:
        The pixels; None, with a warning, if they would take more than `most_bytes` or can't be written.
    """
    if folder is None:
        memory = PixelBlocks()
        shapes = _write(load, number, memory, most_bytes, name, None)
        return shapes and PixelCache(*shapes, memory.joined())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{key}.lock"):
            return _read(folder, key, number) or _make(load, number, key, folder, most_bytes, name)
    except OSError as error:
        # A folder that others have filled may be one that is only read.
        if found := _read(folder, key, number):
            return found
        _log.warning("the %s images can't be kept in %s (%s) and are decoded each time; give another data.cache_folder",
                     name, folder, error.strerror or error)  # fmt: skip
        return None


def _read(folder: Path, key: str, number: int) -> PixelCache | None:
    """Return what is kept; None if there is nothing, or, with a warning, if it is not whole."""
    pixels, index = folder / f"{key}.pixels", folder / f"{key}.npz"
    try:
        with index.open("rb") as file, np.load(file) as found:
            ends, heights = found["ends"], found["heights"]
        if len(ends) != number or pixels.stat().st_size != (ends[-1] if number else 0):
            raise ValueError("another size")
        kept = PixelCache(torch.from_numpy(ends), torch.from_numpy(heights), pixels)
    except FileNotFoundError:
        return None
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile):
        _log.warning("the images in %s are damaged, and are decoded again", pixels)
        return None
    with suppress(OSError):
        os.utime(index)
    return kept


def _make(
    load: Callable[[int], Pixels], number: int, key: str, folder: Path, most_bytes: float, name: str
) -> PixelCache | None:
    """Write the files of some images; the lock is held."""
    with new_files(folder, key) as (pixels, index):
        with pixels.open("wb") as file:
            shapes = _write(load, number, file, most_bytes, name, folder)
        if shapes is None:
            return None
        make_room(folder, key, most_bytes - pixels.stat().st_size)
        pixels.replace(folder / f"{key}.pixels")
        with index.open("wb") as file:
            np.savez(file, ends=shapes[0].numpy(), heights=shapes[1].numpy())
        # The index comes last: pixels without one are not whole.
        index.replace(folder / f"{key}.npz")
    return PixelCache(*shapes, folder / f"{key}.pixels")


class _Sink(Protocol):
    def write(self, content: bytes, /) -> object: ...


def _write(
    load: Callable[[int], Pixels], number: int, file: _Sink, most_bytes: float, name: str, folder: Path | None
) -> tuple[Tensor, Tensor] | None:
    """Write all images; return where each ends and its rows, or None if there is no room for them."""
    ends, heights, total = list[int](), list[int](), 0
    for pixels in watched(_loaded(load, number), number, f"keeping {name} images"):
        total += pixels.nbytes
        if total > most_bytes:
            _log.warning(
                "the %s images would take more than %.1f GB as pixels (%d of %d do) and are decoded each time; raise "
                "data.cache_gigabytes, or leave data.cache out", name, most_bytes / 1e9, len(ends), number,
            )  # fmt: skip
            return None
        if folder and len(ends) % _AT_ONCE == 0 and is_full(folder):
            _log.warning(
                "the disk of %s is nearly full (%d of %d %s images would be kept there), and they are decoded each "
                "time; give another data.cache_folder, or leave data.cache out", folder, len(ends), number, name,
            )  # fmt: skip
            return None
        file.write(pixels.tobytes())
        ends.append(total)
        heights.append(len(pixels))
    return torch.tensor(ends, dtype=torch.int64), torch.tensor(heights, dtype=torch.int64)


def _loaded(load: Callable[[int], Pixels], number: int) -> Iterator[Pixels]:
    """Load images in order, some ahead: decoding and resizing leave Python's lock to other threads."""
    with ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4)) as pool:
        for first in range(0, number, _AT_ONCE):
            yield from pool.map(load, range(first, min(first + _AT_ONCE, number)))
