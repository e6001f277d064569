"""Which images are worth a look: those with the largest and the smallest errors."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["MOST_SHOWN", "Extremes", "extremes"]

MOST_SHOWN = 12
"""How many of each kind a page shows."""


class Extremes(NamedTuple):
    """Places of images.

    Attributes:
        worst: Those with the largest errors, the largest first.
        best: Those with the smallest errors, the smallest first; none of them is among the worst.
    """

    worst: NDArray[np.int64]
    best: NDArray[np.int64]


def extremes(errors: ArrayLike, most: int = MOST_SHOWN) -> Extremes:
    """Return the places of the largest and the smallest errors.

    Args:
        errors: Value minus target of each image, finite, (N,); the sign does not count.
        most: How many of each at most. Half of the images are the most; a single one is both.

    Example:
        >>> found = extremes([3.0, -1.0, 0.0, -9.0], most=1)
        >>> found.worst.tolist(), found.best.tolist()
        ([3], [2])
    """
    # Stable, so that ties are in the order of the list.
    order: NDArray[np.int64] = np.argsort(np.abs(np.asarray(errors, dtype=np.float64)), kind="stable")
    shown = min(most, len(order) // 2 or 1)
    return Extremes(order[::-1][:shown], order[:shown])
