"""Images that are one under two names: links and copies, by the content of the files."""

import hashlib
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numclip_lightning.data.base.checked import in_threads
from numclip_lightning.data.base.labels import Label
from numclip_lightning.progress import watched

__all__ = ["Copy", "copies_between", "copies_within", "digest_of"]

# Enough to tell files apart.
_DIGEST = 16


class Copy(NamedTuple):
    """Two entries whose files have the same content."""

    label: Label
    other: Label


def copies_between(images: Mapping[Path, Label], others: Mapping[Path, Label]) -> list[Copy]:
    """Return the images of one split whose content another split has too, each with its copy there.

    Only files of equal size are read. Missing files are left out.

    Args:
        images: The entry of each file of one split.
        others: Those of the other.
    """
    sizes, other_sizes = _sizes(images), _sizes(others)
    common = set(sizes.values()) & set(other_sizes.values())
    theirs = {digest: others[file] for file, digest in _digests(_of(other_sizes, common)).items()}
    ours = _digests(_of(sizes, common))
    return [Copy(images[file], theirs[digest]) for file, digest in ours.items() if digest in theirs]


def copies_within(files: Sequence[Path], labels: Sequence[Label]) -> list[Copy]:
    """Return the images of a list that have the content of one before them but other targets.

    Args:
        files: The file of each entry; a file may be that of several.
        labels: The entries.
    """
    sizes = np.fromiter(map(_size, files), np.int64, len(files))
    known, places, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    wanted = np.flatnonzero((counts[places] > 1) & (known[places] >= 0))
    if not len(wanted):
        return []
    read = watched(
        in_threads(lambda index: digest_of(files[index])[:_DIGEST], wanted.tolist()),
        len(wanted), "comparing files of equal size", "file",
    )  # fmt: skip
    digests = np.frombuffer(b"".join(digest.ljust(_DIGEST, b"\0") for digest in read), np.uint64).reshape(-1, 2)
    # By content, and in the order of the list where it is equal.
    order = np.lexsort((wanted, digests[:, 1], digests[:, 0]))
    found: list[tuple[int, Copy]] = []
    first = -1
    for place, row in enumerate(order):
        index = int(wanted[row])
        if not digests[row].any():
            continue
        if first < 0 or (digests[row] != digests[order[place - 1]]).any():
            first = index
        elif files[index] != files[first] and labels[index].targets != labels[first].targets:
            found.append((index, Copy(labels[index], labels[first])))
    return [copy for _, copy in sorted(found, key=lambda pair: pair[0])]


def _sizes(files: Iterable[Path]) -> dict[Path, int]:
    found = {}
    for file in files:
        if (size := _size(file)) >= 0:
            found[file] = size
    return found


def _size(file: Path) -> int:
    """Return the size of a file; -1 for what is none."""
    try:
        status = file.stat()
    except OSError:
        return -1
    # Reading a pipe would wait for whoever writes into it.
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def _of(sizes: Mapping[Path, int], wanted: set[int]) -> list[Path]:
    return [file for file, size in sizes.items() if size in wanted]


def _digests(files: list[Path]) -> dict[Path, bytes]:
    digests = watched(in_threads(digest_of, files), len(files), "comparing files of equal size", "file")
    return {file: digest for file, digest in zip(files, digests, strict=True) if digest}


def digest_of(file: Path) -> bytes:
    """Return a digest of the bytes of a file; empty if it can't be read."""
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "blake2b").digest()
    except OSError:
        return b""
