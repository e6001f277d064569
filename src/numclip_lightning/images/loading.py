"""Loading image files: any kind becomes 8-bit RGB, upright."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from numclip_lightning.errors import DataError
from numclip_lightning.images.deep_colour import is_deep_colour, peak_of_colour, read_deep_colour
from numclip_lightning.images.opening import MAX_PIXELS, UNREADABLE, decode_smaller, open_image, quiet, shrink

__all__ = ["MAX_PIXELS", "UNREADABLE", "Reading", "Remarks", "decode_rgb", "inspect_image", "load_rgb", "rgb_of"]

_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258
# What each EXIF orientation takes to stand upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DEEP_MODES = ("F", "I", "I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True)
class Reading:
    """How image files are read.

    Args:
        max_pixels: The most pixels of an image. JPEGs of more are read at a half, a quarter or an eighth of their size;
            other images of more are refused.
        grey_range: The numbers that become black and white in images of more than 8 bits; None takes 0 and 65535,
            or what the file says.
        least_side: JPEGs are decoded at a half, a quarter or an eighth of their size as long as their shorter side
            keeps so many pixels; None decodes them whole.
    """

    max_pixels: int = MAX_PIXELS
    grey_range: tuple[float, float] | None = None
    least_side: int | None = None


@dataclass(frozen=True)
class Remarks:
    """What a reader of an image assumed.

    Attributes:
        pages: Pages of a TIFF or frames of an animation; the first is read.
        shrunk: By what a JPEG of too many pixels was divided in both directions; 1 for all others.
        peak: The largest number of an image of more than 8 bits whose range was assumed, for colour the largest with
            its upper 8 bits; None for others.
    """

    pages: int = 1
    shrunk: int = 1
    peak: float | None = None


def load_rgb(path: str | Path, reading: Reading | None = None) -> npt.NDArray[np.uint8]:
    """Load any image as 8-bit RGB, upright.

    Transparent images are laid on white, grey and colour of 16 bits are scaled to 8, the EXIF orientation is applied,
    and of several pages or frames the first is read. EXIF tags that are damaged are ignored.

    Args:
        path: The image file.
        reading: Limits and ranges; None takes the defaults.

    Returns:
        The pixels, shape (H, W, 3), uint8.

    Raises:
        DataError: If the file is missing, is no image, is cut short, has too many pixels, or holds floating-point or
            negative pixels without `grey_range`.
    """
    reading = reading or Reading()
    try:
        with open_image(path, reading.max_pixels) as (image, shrunk):
            # Only once: a second request would be a fraction of the first.
            if reading.least_side is not None and shrunk == 1:
                decode_smaller(image, reading.least_side)
            return _pixels(image, reading)
    except FileNotFoundError as error:
        raise DataError(f"image {path} doesn't exist") from error
    except UNREADABLE as error:
        raise DataError(f"can't read image {path}: {error}") from error


def rgb_of(image: Image.Image, reading: Reading | None = None) -> npt.NDArray[np.uint8]:
    """Return an opened image as 8-bit RGB, upright, as `load_rgb` does for files.

    Args:
        image: Any image of Pillow; it is not changed, except that it is decoded.
        reading: Limits and ranges; None takes the defaults.

    Returns:
        The pixels, shape (H, W, 3), uint8.

    Raises:
        DataError: If it can't be decoded, has too many pixels, or pixels of an unknown range.
    """
    reading = reading or Reading()
    try:
        shrink(image, reading.max_pixels)
        return _pixels(image, reading)
    except UNREADABLE as error:
        raise DataError(f"can't read the image: {error}") from error


def decode_rgb(content: bytes, reading: Reading | None = None) -> npt.NDArray[np.uint8]:
    """Return an encoded image as 8-bit RGB, upright, as `load_rgb` does for files.

    Args:
        content: The bytes of an image file.
        reading: Limits and ranges; None takes the defaults.

    Returns:
        The pixels, shape (H, W, 3), uint8.

    Raises:
        DataError: As of `rgb_of`, or if it is no image.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            return rgb_of(image, reading)
    except DataError:
        raise
    except UNREADABLE as error:
        # Pillow names the object that held the bytes.
        reason = str(error).partition(" <_io.BytesIO")[0]
        raise DataError(f"can't read the image: {reason}") from error


def inspect_image(path: str | Path, reading: Reading, *, decode: bool) -> Remarks:
    """Do all that loading does, JPEGs at an eighth of their size, which still reads every byte.

    Args:
        path: The image file.
        reading: Limits and ranges.
        decode: Whether to decode it; otherwise only its header is read.

    Raises:
        FileNotFoundError: If it is missing.
        Exception: One of `UNREADABLE`, with the reason, if it can't be loaded.
    """
    with open_image(path, reading.max_pixels) as (image, shrunk):
        several = image.format in ("TIFF", "GIF", "WEBP", "PNG", "AVIF")
        pages = int(getattr(image, "n_frames", 1)) if several else 1
        if image.mode == "F":
            _deep_range(image, np.zeros(1), reading)
        if not decode:
            return Remarks(pages, shrunk)
        image.draft("RGB", (1, 1))
        assumed = image.mode in _DEEP_MODES and reading.grey_range is None and _bits(image) is None
        peak = float(np.asarray(image).max(initial=0)) if assumed else None
        if is_deep_colour(image) and reading.grey_range is None:
            peak = peak_of_colour(image)
        _pixels(image, reading)
    return Remarks(pages, shrunk, peak)


def _pixels(image: Image.Image, reading: Reading) -> npt.NDArray[np.uint8]:
    """Decode an image to 8-bit RGB, upright."""
    deep = None
    if reading.grey_range is not None and is_deep_colour(image):
        deep = read_deep_colour(image, *reading.grey_range)
    return np.array(_to_rgb(_upright(image, deep), reading))


def _upright(image: Image.Image, decoded: Image.Image | None = None) -> Image.Image:
    """Turn an image by its EXIF orientation alone: other tags may be damaged, and nothing depends on them."""
    image.load()
    turned = decoded or image
    try:
        with quiet():
            turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except UNREADABLE:
        turn = None
    return turned if turn is None else turned.transpose(turn)


def _to_rgb(image: Image.Image, reading: Reading) -> Image.Image:
    if image.mode in _DEEP_MODES:
        pixels = np.asarray(image).astype(np.float64)
        low, high = _deep_range(image, pixels, reading)
        image = Image.fromarray(np.rint((pixels.clip(low, high) - low) * (255 / (high - low))).astype(np.uint8))
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    # `convert` copies what is RGB already.
    return image if image.mode == "RGB" else image.convert("RGB")


def _deep_range(image: Image.Image, pixels: npt.NDArray[np.float64], reading: Reading) -> tuple[float, float]:
    """Return the numbers that are black and white; refuse pixels whose range nothing tells."""
    if not np.isfinite(pixels).all():
        raise ValueError("it holds pixels that are not finite; correct the image")
    if reading.grey_range is not None:
        return reading.grey_range
    if image.mode == "F" or pixels.min(initial=0) < 0:
        kind = "floating-point" if image.mode == "F" else f"negative (down to {int(pixels.min())})"
        raise ValueError(
            f"it has {kind} pixels, whose range is unknown; save it with 8 or 16 bits, or set data.grey_range to the "
            "numbers that are black and white, such as [-1024, 3071]"
        )
    if (bits := _bits(image)) is not None:
        return 0, 2**bits - 1
    # Pillow may hold 16 bits in its 32-bit mode, so the largest pixel shows the width.
    return 0, 2**16 - 1 if pixels.max(initial=0) < 2**16 else 2**31 - 1


def _bits(image: Image.Image) -> int | None:
    """Return the bits of a pixel where a TIFF says that they are 9 to 15; Pillow keeps them in 16."""
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))
    return int(bits[0]) if len(bits) == 1 and 8 < bits[0] < 16 else None
