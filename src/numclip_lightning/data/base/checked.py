"""Which images were found good before: a check of a long list that was stopped goes on, and is not done twice."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import numpy as np
import PIL

from numclip_lightning.data.base.caches import caches
from numclip_lightning.images.loading import Reading

__all__ = ["Checked", "in_threads"]

# Shorter lists are checked in a moment, and each time.
LEAST_IMAGES = 2_000
_THREADS = 8
_AT_ONCE = 1_000
_BYTES = 8

T = TypeVar("T")
R = TypeVar("R")


def in_threads(work: Callable[[T], R], items: Sequence[T], threads: int = _THREADS) -> Iterator[R]:
    """Yield the results of some work in order, done in threads; no more than a thousand are on their way at a time.

    Args:
        work: What is done; it leaves Python's lock to others for most of its time.
        items: What it is done with.
        threads: How many work.
    """
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(items), _AT_ONCE):
            yield from pool.map(work, items[first : first + _AT_ONCE])


class Checked:
    """A record of images without any fault or remark: eight bytes each, of path, size and time of the last change.

    It is written while a check goes on, so that a killed one has lost a few images at most. A file that has changed
    since is another one.

    Args:
        how: How images are checked.
        reading: How images are read.
        number: How many images the list has; of a short one nothing is recorded.
    """

    def __init__(self, how: str, reading: Reading, number: int) -> None:
        settings = hashlib.sha256(repr([how, asdict(reading), PIL.__version__]).encode()).hexdigest()[:16]
        self._place = caches("checked") / f"{settings}.u64" if number >= LEAST_IMAGES else None
        self._known = self._read()
        self._new: list[bytes] = []

    def _read(self) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        if self._place is None or not self._place.is_file():
            return np.empty(0, np.uint64)
        content = self._place.read_bytes()
        # A process that was killed may have written a part of the last one.
        whole = len(content) // _BYTES * _BYTES
        return np.unique(np.frombuffer(content[:whole], np.uint64))

    def key(self, file: Path) -> bytes | None:
        """Return what a file is known by; None if nothing is recorded, or it can't be looked at."""
        if self._place is None:
            return None
        try:
            status = file.stat()
        except OSError:
            return None
        name = os.fsencode(os.path.abspath(file))  # noqa: PTH100  # absolute, but links stay
        stamp = f"{status.st_size} {status.st_mtime_ns}".encode()
        return hashlib.blake2b(name + b"\0" + stamp, digest_size=_BYTES).digest()

    def __contains__(self, key: bytes | None) -> bool:
        if key is None or not len(self._known):
            return False
        wanted = np.frombuffer(key, np.uint64)[0]
        place = int(np.searchsorted(self._known, wanted))
        return place < len(self._known) and bool(self._known[place] == wanted)

    def add(self, key: bytes | None) -> None:
        """Record an image that is good."""
        if key is None:
            return
        self._new.append(key)
        if len(self._new) >= _AT_ONCE:
            self.write()

    def write(self) -> None:
        """Write what is new; where that is not possible, the next check starts anew."""
        new, self._new = self._new, []
        if self._place is None or not new:
            return
        try:
            self._place.parent.mkdir(parents=True, exist_ok=True)
            with self._place.open("ab") as file:
                # After a part of a key, which the end of a killed process has left.
                file.write(b"\0" * (-file.tell() % _BYTES) + b"".join(new))
        except OSError:
            self._place = None
