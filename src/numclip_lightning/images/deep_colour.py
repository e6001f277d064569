"""Colour of more than 8 bits, of which Pillow keeps the upper 8: enough unless a camera has filled 12 of 16."""

from typing import Any

import cv2
import numpy as np
from PIL import Image

__all__ = ["is_deep_colour", "peak_of_colour", "read_deep_colour"]


def is_deep_colour(image: Image.Image) -> bool:
    """Return whether an image that is not decoded yet has colours or transparency of 16 bits.

    Args:
        image: An opened image; once it is decoded, nothing tells any more.
    """
    if image.mode not in ("RGB", "RGBA", "RGBX", "LA"):
        return False
    # What the decoder is told of the pixels in the file: `RGB;16B` alone, or first in a tuple.
    arguments = [tile[3] for tile in getattr(image, "tile", ())]
    return any(";16" in str(found[0] if isinstance(found, tuple) else found) for found in arguments)


def peak_of_colour(image: Image.Image) -> float:
    """Return the largest number that the pixels may have in the file, from their upper 8 bits; transparency aside.

    Args:
        image: An image of 16-bit colours; it is decoded.
    """
    bands = zip(image.getbands(), np.atleast_2d(image.getextrema()), strict=True)
    return float(max(256 * int(most) + 255 for name, (_, most) in bands if name not in ("A", "X")))


def read_deep_colour(image: Image.Image, low: float, high: float) -> Image.Image:
    """Decode an image of 16-bit colours by OpenCV, which keeps all bits, and scale a range of them to 8.

    Args:
        image: An opened image that is not decoded yet.
        low: The number that becomes 0.
        high: The number that becomes 255; transparency always has 65535.

    Returns:
        The image as RGB or RGBA, not turned by its EXIF orientation.

    Raises:
        ValueError: If OpenCV can't read it.
    """
    # An opened image is one of a file's, until it is decoded.
    file: Any = getattr(image, "fp")  # noqa: B009  # which Pillow's base class does not declare
    place = file.tell()
    file.seek(0)
    content = np.frombuffer(file.read(), dtype=np.uint8)
    file.seek(place)
    pixels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3 or pixels.shape[:2] != image.size[::-1]:
        raise ValueError("its colours of 16 bits can't be read with data.grey_range; save it with 8 bits")
    colours = pixels[:, :, 2::-1].astype(np.float64)
    scaled = [(colours.clip(low, high) - low) * (255 / (high - low))]
    if pixels.shape[2] == 4:
        scaled.append(pixels[:, :, 3:] / 257)
    return Image.fromarray(np.rint(np.concatenate(scaled, axis=2)).astype(np.uint8))
