"""Cutting a part out of an image by its four corners, which may be turned."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from numclip_lightning.errors import DataError

__all__ = ["crop_box", "widened"]


def crop_box(pixels: npt.NDArray[np.uint8], corners: Sequence[float]) -> npt.NDArray[np.uint8]:
    """Cut a rectangle out of an image and turn it upright, with bilinear interpolation; black outside the image.

    Args:
        pixels: The image, (H, W, 3).
        corners: x and y of the four corners in pixels, from the upper left one clockwise; 0 is the left or upper edge
            of the first pixel. They may lie outside the image.

    Returns:
        The part at its own size: as wide as the mean of the upper and lower edge, as high as that of the others.

    Raises:
        DataError: If it is less than a pixel wide or high, or has nothing of the image in it.
    """
    (left, top, right, upper, far, low, near, bottom) = corners
    width = round((math.hypot(right - left, upper - top) + math.hypot(far - near, low - bottom)) / 2)
    height = round((math.hypot(near - left, bottom - top) + math.hypot(far - right, low - upper)) / 2)
    xs, ys = corners[::2], corners[1::2]
    outside = max(xs) <= 0 or max(ys) <= 0 or min(xs) >= pixels.shape[1] or min(ys) >= pixels.shape[0]
    if min(width, height) < 1 or outside:
        where = ", ".join(f"({x:g}, {y:g})" for x, y in zip(xs, ys, strict=True))
        size = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise DataError(f"the box {where} is empty or outside the image of {size} pixels; correct it, or set crop=none")
    # Pillow goes round the other way: upper left, lower left, lower right, upper right.
    quad = (left, top, near, bottom, far, low, right, upper)
    image = Image.fromarray(pixels)
    return np.array(image.transform((width, height), Image.Transform.QUAD, quad, Image.Resampling.BILINEAR))


def widened(corners: Sequence[float], margin: float) -> tuple[float, ...]:
    """Move the corners of a box away from its centre.

    Args:
        corners: x and y of the four corners.
        margin: By which share of its size each side moves outwards; 0 changes nothing.

    Example:
        >>> widened((0, 0, 10, 0, 10, 20, 0, 20), 0.1)
        (-1.0, -2.0, 11.0, -2.0, 11.0, 22.0, -1.0, 22.0)
    """
    centre = sum(corners[::2]) / 4, sum(corners[1::2]) / 4
    factor = 1 + 2 * margin
    return tuple(centre[i % 2] + factor * (number - centre[i % 2]) for i, number in enumerate(corners))
