"""Images that are one under two names: links and copies, by the content of the files."""

import hashlib
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from numclip_lightning.data.base.labels import Label
from numclip_lightning.progress import watched

__all__ = ["Copy", "copies_between", "copies_within", "digest_of"]

_THREADS = 8


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


def copies_within(images: Mapping[Path, Label]) -> list[Copy]:
    """Return the images of a list that have the content of one before them but other targets.

    Args:
        images: The entry of each file.
    """
    sizes = _sizes(images)
    repeated = {size for size, count in Counter(sizes.values()).items() if count > 1}
    first: dict[bytes, Label] = {}
    copies = []
    for file, digest in _digests(_of(sizes, repeated)).items():
        known = first.setdefault(digest, images[file])
        if known.targets != images[file].targets:
            copies.append(Copy(images[file], known))
    return copies


def _sizes(files: Iterable[Path]) -> dict[Path, int]:
    found = {}
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        # Reading a pipe would wait for whoever writes into it.
        if stat.S_ISREG(status.st_mode):
            found[file] = status.st_size
    return found


def _of(sizes: Mapping[Path, int], wanted: set[int]) -> list[Path]:
    return [file for file, size in sizes.items() if size in wanted]


def _digests(files: list[Path]) -> dict[Path, bytes]:
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = watched(pool.map(digest_of, files), len(files), "comparing files of equal size", "file")
        return {file: digest for file, digest in zip(files, digests, strict=True) if digest}


def digest_of(file: Path) -> bytes:
    """Return a digest of the bytes of a file; empty if it can't be read."""
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "blake2b").digest()
    except OSError:
        return b""
