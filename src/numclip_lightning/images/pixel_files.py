"""The folder and the memory of kept pixels: room is made, and nothing is left behind."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock, Timeout
from torch import Tensor

__all__ = ["PixelBlocks", "is_full", "make_room", "new_files"]

_BLOCK_BYTES = 2**26


class PixelBlocks:
    """Bytes in memory that are joined once, without being there twice."""

    def __init__(self) -> None:
        self._blocks: list[npt.NDArray[np.uint8]] = []
        self._total = 0

    def write(self, content: bytes) -> None:
        """Append bytes."""
        left = np.frombuffer(content, dtype=np.uint8)
        while len(left):
            place = self._total % _BLOCK_BYTES
            if place == 0:
                self._blocks.append(np.empty(_BLOCK_BYTES, dtype=np.uint8))
            part, left = np.split(left, [_BLOCK_BYTES - place])
            self._blocks[-1][place : place + len(part)] = part
            self._total += len(part)

    def joined(self) -> Tensor:
        """Return all bytes, (N,) uint8, and forget them: the system gives memory to the whole as blocks are freed."""
        whole = torch.empty(self._total, dtype=torch.uint8)
        blocks, place = self._blocks[::-1], 0
        self._blocks, self._total = [], 0
        while blocks:
            part = torch.from_numpy(blocks.pop())[: len(whole) - place]
            whole[place : place + len(part)] = part
            place += len(part)
        return whole


@contextmanager
def new_files(folder: Path, key: str) -> Iterator[tuple[Path, Path]]:
    """Give two names for files that are being written, and remove what is left of them in the end.

    Args:
        folder: The folder, where the lock of the key is held.
        key: What the images are found by.
    """
    # Of a process that was killed: nobody else writes while the lock is held.
    for left in folder.glob(f"{key}.*.part"):
        left.unlink(missing_ok=True)
    new = [folder / f"{key}.{uuid.uuid4().hex}.part" for _ in range(2)]
    try:
        yield new[0], new[1]
    finally:
        for file in new:
            file.unlink(missing_ok=True)


def make_room(folder: Path, key: str, most: float) -> None:
    """Remove what killed processes have left, and then the pixels that were not used for longest.

    What another process makes or opens at the moment is left alone.

    Args:
        folder: The folder.
        key: What is being made here, which is left alone too.
        most: The bytes that may stay.
    """
    for left in [*folder.glob("*.part"), *(file for file in folder.glob("*.pixels") if not _index(file).exists())]:
        if (other := left.name.split(".")[0]) != key:
            _remove(folder, other, left)
    for _, size, pixels in sorted(map(_use, folder.glob("*.pixels")), reverse=True):
        most -= size
        if most < 0:
            # A process that reads them has them open, and keeps them until it ends.
            _remove(folder, pixels.stem, _index(pixels), pixels)


def is_full(folder: Path) -> bool:
    """Return whether less than a tenth of the disk is left."""
    usage = shutil.disk_usage(folder)
    return usage.free < usage.total / 10


def _index(pixels: Path) -> Path:
    return pixels.with_suffix(".npz")


def _use(pixels: Path) -> tuple[float, int, Path]:
    """Return when pixels were used last, and their size; they may be gone in between."""
    try:
        return _index(pixels).stat().st_mtime, pixels.stat().st_size, pixels
    except FileNotFoundError:
        return 0.0, 0, pixels


def _remove(folder: Path, key: str, *files: Path) -> None:
    with suppress(Timeout, OSError), FileLock(folder / f"{key}.lock", timeout=0):
        for file in files:
            file.unlink(missing_ok=True)
