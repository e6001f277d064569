"""Finding, checking and loading image files: whatever a list names becomes 8-bit RGB, or an error that says where."""

import os
import struct
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from numclip_lightning.data.labels import IMAGE_SUFFIXES, Label, path_key
from numclip_lightning.errors import DataError

__all__ = ["CheckImages", "check_images", "list_images", "load_rgb", "resolve"]

CheckImages = Literal["full", "header", "none"]

# What Pillow's decoders raise for files that aren't images, are cut short or damaged.
_UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
_THREADS = 8
_SHOWN = 10


def resolve(root: str | Path, path: str) -> Path:
    r"""Find the image that a list names.

    Public lists carry the folders of their authors (`../../datasets/Morph/image/x.JPG`, `C:\faces\x.jpg`), so the
    name is also looked for in `root` and in `root/image`.

    Args:
        root: Folder that the entries of the list are relative to.
        path: The entry as written; an absolute path is used as it is.

    Returns:
        The first that exists of `root/path`, `root/basename` and `root/image/basename`; `root/path` if none does.
    """
    # Strings, not `Path`s: this runs for every entry of long lists, several times.
    key = path_key(path)
    name = key.rsplit("/", 1)[-1]
    candidates = [os.path.join(root, *parts) for parts in ((path,), (key,), (name,), ("image", name))]  # noqa: PTH118
    found = next(filter(os.path.isfile, candidates), candidates[1])
    return Path(os.path.normpath(found))


def list_images(folder: str | Path, *, recursive: bool = False) -> list[Path]:
    """The image files of a folder, sorted by path; hidden files are left out.

    Args:
        folder: An existing folder.
        recursive: Whether to look into its subfolders too.
    """
    files = Path(folder).rglob("*") if recursive else Path(folder).iterdir()
    images = (file for file in files if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith("."))
    return sorted(file for file in images if file.is_file())


def load_rgb(path: str | Path) -> npt.NDArray[np.uint8]:
    """Load any image as 8-bit RGB, upright.

    Transparent images are laid on white, 16-bit grey is scaled to 8 bits, and the EXIF orientation is applied.

    Args:
        path: The image file.

    Returns:
        The pixels, shape (H, W, 3), uint8.

    Raises:
        DataError: If the file is missing, is no image, is cut short, or holds floating-point pixels.
    """
    try:
        with Image.open(path) as image:
            return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except FileNotFoundError as error:
        raise DataError(f"image {path} doesn't exist") from error
    except _UNREADABLE as error:
        raise DataError(f"can't read image {path}: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    _refuse_float(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.float64)
        # Pillow may hold 16 bits in its 32-bit mode, so the width is told by the largest pixel.
        top = 2**16 - 1 if pixels.max(initial=0) < 2**16 else 2**31 - 1
        image = Image.fromarray(np.rint(pixels.clip(0, top) * (255 / top)).astype(np.uint8))
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _refuse_float(image: Image.Image) -> None:
    if image.mode == "F":
        raise ValueError("it holds floating-point pixels, whose range is unknown; save it with 8 or 16 bits")


class _Fault(NamedTuple):
    label: Label
    missing: bool
    reason: str


def check_images(labels: Iterable[Label], root: str | Path, how: CheckImages = "full") -> None:
    """Check every image of a list before training starts.

    Args:
        labels: The entries to check.
        root: Folder that the entries are relative to.
        how: `"full"` decodes every image (JPEGs at an eighth of their size, which reads every byte all the same),
            `"header"` only opens it, `"none"` checks nothing.

    Raises:
        DataError: If images are missing or unreadable: how many of each, and the first ten with file and line. Also if
            two entries with different labels are found to be the same file.
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
    """Whether the file is missing, and what is wrong with it; None for a sound image."""
    try:
        with Image.open(file) as image:
            _refuse_float(image)
            if decode:
                image.draft("RGB", (1, 1))
                image.load()
    except FileNotFoundError:
        return True, "missing"
    except _UNREADABLE as error:
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
    """`a/1.jpg` and `b/1.jpg` may both be found as `root/1.jpg`: then one of their labels is wrong."""
    first: dict[Path, Label] = {}
    for label, file in zip(labels, files, strict=True):
        known = first.setdefault(file, label)
        if known.targets != label.targets:
            raise DataError(
                f"{label.where} ({label.path}) and {known.where} ({known.path}) have different labels but are the same "
                f"file, {file}; restore the folders that the list names, or correct the list"
            )
