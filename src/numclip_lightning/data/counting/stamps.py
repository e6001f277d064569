"""Masks of simple shapes, made only with whole numbers, so that every machine draws the same pixels."""

import math
from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = ["FULL", "FULL_BITS", "SHAPES", "TURNS", "Mask", "stamp"]

Mask = npt.NDArray[np.int16]

# Vertices in no particular unit: a stamp is scaled by its area. The circle has none.
_POLYGONS: dict[str, tuple[tuple[int, int], ...]] = {
    "square": ((-10, -10), (10, -10), (10, 10), (-10, 10)),
    "triangle": ((0, -120), (104, 60), (-104, 60)),
    "cross": (
        (-4, -12), (4, -12), (4, -4), (12, -4), (12, 4), (4, 4),
        (4, 12), (-4, 12), (-4, 4), (-12, 4), (-12, -4), (-4, -4),
    ),
    "star": (
        (0, -1000), (265, -364), (951, -309), (428, 139), (588, 809),
        (0, 450), (-588, 809), (-428, 139), (-951, -309), (-265, -364),
    ),
    "stroke": ((-24, -1), (24, -1), (24, 1), (-24, 1)),
}  # fmt: skip

SHAPES = ("circle", "square", "triangle", "cross", "star")
"""Shapes of things; a stroke is not among them, only clutter."""

_UNIT = 256  # length of a pixel inside a stamp
_SAMPLES = 4  # a pixel's coverage is the share of 4 x 4 points inside the shape
FULL_BITS = 6
FULL = 1 << FULL_BITS
"""Mask of a pixel that is completely inside a shape without fading."""

TURNS = 8
"""Number of rotations."""
# Eighths of a turn as (cosine, sine) in 1024ths. None is near a half, so rounding is the same everywhere.
_ROTATIONS = [
    (round(1024 * math.cos(2 * math.pi * k / TURNS)), round(1024 * math.sin(2 * math.pi * k / TURNS)))
    for k in range(TURNS)
]


@cache
def stamp(shape: str, side: int, turn: int, fade: int = 0) -> Mask:
    """Make the mask of a shape.

    Args:
        shape: One of `SHAPES`, or `"stroke"`, 24 times as long as wide.
        side: Square root of the shape's area in quarters of a pixel, so that equal sides mean equal ink.
        turn: Rotation in eighths of a turn, 0..TURNS-1.
        fade: How many sixteenths the mask loses from the top left of the shape to its bottom right, 0..16.

    Returns:
        Coverage 0..FULL, int16 (S, S, 1) with S even; the shape's centre is the middle of the array.
    """
    length = side * _UNIT // 4
    if shape == "circle":
        radius = math.isqrt(length * length * 113 // 355)  # 355/113 is pi to six digits
        reach = radius
    else:
        polygon = _scaled(_POLYGONS[shape], length, *_ROTATIONS[turn])
        reach = max(max(abs(x), abs(y)) for x, y in polygon)
    half = -(-reach // _UNIT)
    step = _UNIT // _SAMPLES
    points = np.arange(-half * _UNIT + step // 2, half * _UNIT, step, dtype=np.int64)
    x, y = points[None, :], points[:, None]
    inside = x * x + y * y <= radius * radius if shape == "circle" else _inside(polygon, x, y)
    blocks = inside.reshape(2 * half, _SAMPLES, 2 * half, _SAMPLES)
    covered = blocks.sum(axis=(1, 3), dtype=np.int16) * (FULL // _SAMPLES**2)
    along = np.arange(2 * half)[:, None] + np.arange(2 * half)  # 0..4 * half - 2
    dimmed = covered * (64 * half - fade * along) // (64 * half)
    mask: Mask = dimmed.astype(np.int16)[:, :, None]
    return mask


def _scaled(polygon: tuple[tuple[int, int], ...], length: int, cosine: int, sine: int) -> list[tuple[int, int]]:
    """Turn a polygon and scale it to an area of `length` squared."""
    following = polygon[1:] + polygon[:1]
    twice_area = abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(polygon, following, strict=True)))
    root = math.isqrt(twice_area * 512 * 1024)  # 1024 times the square root of the area
    return [((x * cosine - y * sine) * length // root, (x * sine + y * cosine) * length // root) for x, y in polygon]


def _inside(
    polygon: list[tuple[int, int]], x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Return which points are inside: a ray to the right crosses an odd number of edges."""
    inside = np.zeros(np.broadcast_shapes(x.shape, y.shape), dtype=np.bool_)
    for (x1, y1), (x2, y2) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        spans = (y1 > y) != (y2 > y)
        cross = (x - x1) * (y2 - y1) - (y - y1) * (x2 - x1)
        inside ^= spans & ((cross < 0) == (y2 > y1))
    return inside
