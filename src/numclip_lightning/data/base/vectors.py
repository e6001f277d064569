"""Vectors that stand for the objects of a list: a file each, one file with names, or arrays in the order of lists."""

import csv
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from numclip_lightning.data.base.labels import Label
from numclip_lightning.data.base.types import MAX_UNPACKED
from numclip_lightning.errors import DataError, near_matches

__all__ = ["UNREADABLE_ARRAYS", "Vectors", "read_array", "read_named", "stacked", "vector_file"]

UNREADABLE_ARRAYS = (OSError, ValueError, KeyError, EOFError, TypeError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises for files that are cut short, damaged, of another kind, or claim more numbers than memory holds."""

# By what numbers are made smaller at the most.
_MOST_PACKED = 100

Vectors = Mapping[str, npt.NDArray[np.float32]]
"""The vector of each object, by its path in the lists."""


def read_array(file: Path) -> npt.NDArray[np.float32]:
    """Read a `.npy` file.

    Raises:
        DataError: If it can't be read, or has no numbers.
    """
    try:
        # Never objects: they could run code.
        found: Any = np.load(file, allow_pickle=False)
        return np.asarray(found, dtype=np.float32)
    except UNREADABLE_ARRAYS as error:
        raise DataError(f"{file} can't be read as numbers of NumPy ({error}); save it with numpy.save") from error


def read_named(file: Path) -> Vectors:
    """Read vectors with their names: `.npz` with the arrays `path` (N,) and `features` (N, ...), or CSV.

    A CSV file has a heading; its column `path`, or else the first one, has the names, all others have numbers.

    Raises:
        DataError: If it can't be read, a cell is no finite number, or a name is there twice.
    """
    if file.suffix == ".npz":
        try:
            _refuse_bomb(file)
            with np.load(file, allow_pickle=False) as arrays:
                names, rows = [str(name) for name in arrays["path"]], np.asarray(arrays["features"], dtype=np.float32)
        except UNREADABLE_ARRAYS as error:
            raise DataError(
                f"{file} can't be read ({error}); save it with numpy.savez({str(file)!r}, path=..., features=...)"
            ) from error
        if len(names) != len(rows):
            raise DataError(f"{file} has {len(names)} paths and {len(rows)} features; give one for each")
        return _by_name(file, names, rows)
    return _read_table(file)


def _refuse_bomb(file: Path) -> None:
    """Raise ValueError for an archive that is a hundred times larger when it is unpacked, which numbers never are."""
    with zipfile.ZipFile(file) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > max(MAX_UNPACKED, _MOST_PACKED * file.stat().st_size):
        raise ValueError(f"it unpacks to {size / 1e9:.1f} GB")


def _read_table(file: Path) -> Vectors:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines)
            # With their lines in the file, which blank ones count among.
            (_, heading), *rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"{file} can't be read as CSV ({error}); give a CSV with a heading, .npz, or .npy for each list"
        ) from error
    place = heading.index("path") if "path" in heading else 0
    numbers = []
    for line, row in rows:
        if len(row) != len(heading):
            raise DataError(f"{file}:{line}: {len(row)} cells under {len(heading)} headings; correct the line")
        for name, cell in zip(heading, row, strict=True):
            if name != heading[place] and not _is_number(cell):
                raise DataError(f"{file}:{line}: {name} is {cell!r}, which is no finite number; fill it in or drop it")
        numbers.append([float(cell) for column, cell in enumerate(row) if column != place])
    return _by_name(file, [row[place] for _, row in rows], np.asarray(numbers, dtype=np.float32))


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def _by_name(file: Path, names: list[str], rows: npt.NDArray[np.float32]) -> Vectors:
    found = dict(zip(names, rows, strict=True))
    if len(found) < len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise DataError(f"{file}: {twice!r} is there twice; give each object one vector")
    return found


def vector_file(root: str, label: Label) -> Path:
    """Return the file of an object whose path in the list is that of a `.npy` file.

    Raises:
        DataError: If it is none.
    """
    if not label.path.endswith(".npy"):
        raise DataError(
            f"{label.where}: {label.path!r} is no .npy file; name the file with the vectors in data.features, or list "
            "a .npy file for each object"
        )
    return Path(root, label.path)


def stacked(labels: Iterable[Label], vectors: Vectors, source: str) -> npt.NDArray[np.float32]:
    """Return the vectors of labels, in their order: (N, ...), float32.

    Raises:
        DataError: If one is missing, is not finite, or has another size than the first.
    """
    found = list[npt.NDArray[np.float32]]()
    for label in labels:
        own = vectors.get(label.path)
        if own is None:
            raise DataError(
                f"{label.where}: {source} has no vector of {label.path!r}{near_matches(label.path, vectors)}"
            )
        if not np.isfinite(own).all():
            raise DataError(f"{label.where}: the vector of {label.path!r} has numbers that are not finite; correct it")
        if found and own.shape != found[0].shape:
            raise DataError(
                f"{label.where}: the vector of {label.path!r} has the shape {own.shape}, the first one {found[0].shape}"
            )
        found.append(own)
    return np.stack(found)
