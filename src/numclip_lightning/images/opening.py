"""Opening image files: within a limit of pixels, without warnings, and with words for what is no image."""

import math
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from numclip_lightning.images.folders import HEIF_SUFFIXES

__all__ = ["MAX_PIXELS", "UNREADABLE", "decode_smaller", "kind_of_no_file", "open_image", "quiet", "shrink"]

# Exceptions of Pillow's decoders for files that aren't images, are cut short or damaged.
UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
MAX_PIXELS = 178_956_970
"""Where Pillow refuses an image: half a gigabyte as RGB."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_OTHERS = {
    b"%PDF": "a PDF", b"%!PS": "PostScript", b"PK\x03\x04": "a ZIP archive", b"\x1f\x8b": "compressed (gzip)",
    b"Rar!": "a RAR archive", b"7z\xbc\xaf": "a 7z archive", b"\x1aE\xdf\xa3": "a video",
}  # fmt: skip
# Pillow's limit and Python's filter of warnings are globals, and a list is checked in several threads.
_GLOBALS = threading.Lock()


@contextmanager
def open_image(path: str | Path, max_pixels: int) -> Iterator[tuple[Image.Image, int]]:
    """Open an image within the limit of pixels; by what it is divided comes with it.

    Args:
        path: The file.
        max_pixels: JPEGs of more are read at a half, a quarter or an eighth of their size.

    Raises:
        ValueError: If it has more pixels otherwise, is no image, or needs pillow-heif. Pillow raises others of
            `UNREADABLE`.
    """
    if kind := kind_of_no_file(Path(path)):
        raise ValueError(f"it is {kind}, not an image; give the file itself")
    if Path(path).suffix.lower() in HEIF_SUFFIXES:
        _learn_heif()
    with quiet():
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path)
        except UnidentifiedImageError as error:
            raise ValueError(_no_image(Path(path)) or str(error)) from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image, shrink(image, max_pixels)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow from warning of tags that nothing here reads; one thread at a time, since it changes globals."""
    with _GLOBALS, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def kind_of_no_file(path: Path) -> str:
    """Return what a path is if it is no file, such as `a pipe (FIFO)`, for which a reader may wait without end.

    Args:
        path: Links are followed.

    Returns:
        An empty string for a file.

    Raises:
        OSError: If it doesn't exist, or can't be looked at.
    """
    mode = path.stat().st_mode
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no file")


def _no_image(path: Path) -> str:
    """Return what a file is that only has the name of an image; empty if its first bytes don't tell."""
    with path.open("rb") as content:
        start = content.read(64).lstrip()
    if not start:
        return "the file is empty"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the image; fetch it with git lfs pull"
    if start[:1] == b"<":
        return "it is a web page or other XML, not an image; download the image itself"
    if kind := next((kind for magic, kind in _OTHERS.items() if start.startswith(magic)), "") or (
        start[4:8] == b"ftyp" and "a video, or of a kind that Pillow can't read"
    ):
        return f"it is {kind}, not an image; save the image itself"
    if start.isascii() and (text := start.decode()).isprintable():
        return f"it is text, not an image ({text!r}); download the image itself"
    return ""


def _learn_heif() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise ValueError("HEIC images need pillow-heif: pip install 'numclip-lightning[heic]'") from error
    pillow_heif.register_heif_opener()


def decode_smaller(image: Image.Image, least_side: int) -> None:
    """Let a JPEG be decoded at a fraction of its size: libjpeg makes 4, 2 or 1 pixels from blocks of 8.

    Args:
        image: An opened image that is not decoded yet; others than JPEG are left as they are.
        least_side: What its shorter side keeps at the least.
    """
    factor = min(image.size) // least_side
    if factor > 1 and image.format in ("JPEG", "MPO"):
        # The largest of 1, 2, 4 and 8 up to this factor.
        width, height = image.size
        image.draft(None, (width // factor, height // factor))


def shrink(image: Image.Image, most: int) -> int:
    """Bring an opened JPEG below a number of pixels before it is decoded; return by what it is divided.

    Raises:
        ValueError: If it has more and can't be read smaller.
    """
    width, height = image.size
    if width * height <= most:
        return 1
    for divisor in (2, 4, 8):
        size = (math.ceil(width / divisor), math.ceil(height / divisor))
        # Only decoders of JPEG can do it.
        if image.format in ("JPEG", "MPO") and size[0] * size[1] <= most:
            image.draft(None, (width // divisor, height // divisor))
            return divisor
    raise ValueError(
        f"it has {width} x {height} pixels, more than max_pixels={most}; make it smaller, or set "
        f"data.max_pixels={width * height} if each loading process may take {width * height * 8 / 1e9:.1f} GB"
    )
