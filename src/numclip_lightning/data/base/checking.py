"""Checks of the image files in a list, before training starts."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image

from numclip_lightning.data.base.labels import Label
from numclip_lightning.data.base.paths import resolve
from numclip_lightning.errors import DataError
from numclip_lightning.images.loading import UNREADABLE, refuse_float

__all__ = ["CheckImages", "check_images"]

CheckImages = Literal["full", "header", "none"]

_THREADS = 8
_SHOWN = 10


class _Fault(NamedTuple):
    label: Label
    missing: bool
    reason: str


def check_images(labels: Iterable[Label], root: str | Path, how: CheckImages = "full") -> None:
    """Check every image of a list before training starts.

    Args:
        labels: The entries to check.
        root: Folder that the entries are relative to.
        how: `"full"` decodes every image (JPEGs at an eighth of their size, which still reads every byte),
            `"header"` only opens it, `"none"` checks nothing.

    Raises:
        DataError: If images are missing or unreadable: how many of each, and the first ten with file and line. Also if
            two entries with different labels are the same file.
    """
    if how == "none":
        return
    labels = list(labels)
    files = [resolve(root, label.path) for label in labels]
    _refuse_same_file(labels, files)
    with ThreadPoolExecutor(_THREADS) as pool:
        reasons = list(pool.map(lambda file: _fault(file, decode=how == "full"), files))
    faults = [_Fault(label, *reason) for label, reason in zip(labels, reasons, strict=True) if reason]
    if faults:
        raise DataError(_report(faults, len(labels), root))


def _fault(file: Path, *, decode: bool) -> tuple[bool, str] | None:
    """Return whether the file is missing, and what is wrong with it; None for a good image."""
    try:
        with Image.open(file) as image:
            refuse_float(image)
            if decode:
                image.draft("RGB", (1, 1))
                image.load()
    except FileNotFoundError:
        return True, "missing"
    except UNREADABLE as error:
        return False, f"unreadable: {error}"
    return None


def _report(faults: list[_Fault], total: int, root: str | Path) -> str:
    missing = sum(fault.missing for fault in faults)
    lines = [
        f"{missing} of {total} images are missing and {len(faults) - missing} unreadable (root is {str(root)!r}):",
        *(f"  {fault.label.where}: {fault.label.path}: {fault.reason}" for fault in faults[:_SHOWN]),
    ]
    if len(faults) > _SHOWN:
        lines.append(f"  and {len(faults) - _SHOWN} more")
    lines.append("Set root to the folder the list is relative to, restore the images, or remove their lines.")
    return "\n".join(lines)


def _refuse_same_file(labels: list[Label], files: list[Path]) -> None:
    """Refuse two labels for one file: `a/1.jpg` and `b/1.jpg` may both be found as `root/1.jpg`."""
    first: dict[Path, Label] = {}
    for label, file in zip(labels, files, strict=True):
        known = first.setdefault(file, label)
        if known.targets != label.targets:
            raise DataError(
                f"{label.where} ({label.path}) and {known.where} ({known.path}) have different labels but are the same "
                f"file, {file}; restore the folders that the list names, or correct the list"
            )
