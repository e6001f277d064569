"""Loading image files: any kind becomes 8-bit RGB, upright."""

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from numclip_lightning.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "UNREADABLE", "list_images", "load_rgb", "refuse_float"]

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

# Exceptions of Pillow's decoders for files that aren't images, are cut short or damaged.
UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip


def list_images(folder: str | Path, *, recursive: bool = False) -> list[Path]:
    """Return the image files of a folder, sorted by path; hidden files are left out.

    Args:
        folder: An existing folder.
        recursive: Whether to search its subfolders too.
    """
    files = Path(folder).rglob("*") if recursive else Path(folder).iterdir()
    images = (file for file in files if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith("."))
    return sorted(file for file in images if file.is_file())


def load_rgb(path: str | Path) -> npt.NDArray[np.uint8]:
    """Load any image as 8-bit RGB, upright.

    Transparent images get a white background, 16-bit grey is scaled to 8 bits, and the EXIF orientation is applied.

    Args:
        path: The image file.

    Returns:
        The pixels, shape (H, W, 3), uint8.

    Raises:
        DataError: If the file is missing, is not an image, is cut short, or has floating-point pixels.
    """
    try:
        with Image.open(path) as image:
            return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except FileNotFoundError as error:
        raise DataError(f"image {path} doesn't exist") from error
    except UNREADABLE as error:
        raise DataError(f"can't read image {path}: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    refuse_float(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.float64)
        # Pillow may store 16 bits in its 32-bit mode, so the largest pixel decides the width.
        top = 2**16 - 1 if pixels.max(initial=0) < 2**16 else 2**31 - 1
        image = Image.fromarray(np.rint(pixels.clip(0, top) * (255 / top)).astype(np.uint8))
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def refuse_float(image: Image.Image) -> None:
    """Raise ValueError for floating-point pixels, whose range is unknown."""
    if image.mode == "F":
        raise ValueError("it has floating-point pixels, whose range is unknown; save it with 8 or 16 bits")
