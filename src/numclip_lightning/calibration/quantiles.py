"""Quantiles of each image's distribution over the values of the scale, as columns `q(0.05)` of predictions keep them.

The probabilities of levels say nothing about where within a level the values lie. A method with a probability for each
value knows that, and keeps some of its quantiles: few numbers in place of hundreds of probabilities.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numclip_lightning.calibration.checks import Numbers, numbers_of
from numclip_lightning.errors import DataError

__all__ = ["Quantiles", "quantile_columns", "quantiles_in"]

# Shares are written with few digits.
_SAME = 1e-9
_COLUMN = re.compile(r"q\((0?\.\d+)\)")


@dataclass(frozen=True, eq=False)
class Quantiles:
    """Some quantiles of N distributions.

    Args:
        shares: Of the probability that lies below each, increasing, between 0 and 1, S of them.
        numbers: The quantiles, (N, S), in the unit of the scale.

    Raises:
        DataError: If they do not fit together, are not finite, or fall.
    """

    shares: tuple[float, ...]
    numbers: Numbers

    def __post_init__(self) -> None:
        """Check the arrays."""
        numbers = np.asarray(self.numbers, dtype=np.float64)
        if numbers.ndim != 2 or numbers.shape[1] != len(self.shares) or not self.shares:
            raise DataError(f"quantiles have the shape {numbers.shape}; give {len(self.shares)} for each image.")
        if any(not 0 < share < 1 for share in self.shares) or (np.diff(self.shares) <= 0).any():
            raise DataError(f"quantiles are of the shares {self.shares}; give increasing ones between 0 and 1.")
        # Numbers are written with the digits of float32.
        room = 1e-5 * np.abs(numbers).max(initial=1.0)
        wrong = np.flatnonzero(~np.isfinite(numbers).all(axis=1) | (np.diff(numbers, axis=1) < -room).any(axis=1))
        if len(wrong):
            raise DataError(
                f"the quantiles of image {wrong[0] + 1} are no quantiles ({numbers[wrong[0]]}): they are finite, and "
                "never fall with their share."
            )
        object.__setattr__(self, "numbers", numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def needed(self, shares: Sequence[float]) -> tuple[float, ...]:
        """Return which of the kept shares `at` reads for others: each itself, or its neighbours."""
        found = set[float]()
        for share in shares:
            place = self._place(share)
            right = int(np.searchsorted(self.shares, share))
            found |= {*self.shares[max(right - 1, 0) : right + 1]} if place is None else {self.shares[place]}
        return tuple(sorted(found))

    def only(self, shares: Sequence[float]) -> "Quantiles":
        """Return those of some shares.

        Raises:
            DataError: If one is not kept.
        """
        found = {share: self._place(share) for share in shares}
        lacking = [f"q({share:g})" for share, place in found.items() if place is None]
        if lacking:
            raise DataError(f"the predictions lack the quantiles {', '.join(lacking)}, which their calibration is of.")
        return Quantiles(tuple(shares), self.numbers[:, [place for place in found.values() if place is not None]])

    def reaches(self, shares: Sequence[float], ends: tuple[float, float] | None) -> bool:
        """Return whether `at` knows quantiles of these shares: without ends it is none beyond the outermost ones."""
        inside = min(shares) > self.shares[0] - _SAME and max(shares) < self.shares[-1] + _SAME
        return inside or ends is not None

    def _place(self, share: float) -> int | None:
        return next((place for place, known in enumerate(self.shares) if abs(known - share) < _SAME), None)

    def at(self, share: float, ends: tuple[float, float] | None) -> Numbers:
        """Return the quantile of each image, (N,): as it is kept, else on the line between its neighbours.

        Args:
            share: Between 0 and 1, which the quantiles reach (`reaches`).
            ends: The smallest and the largest number that a distribution can reach; None if the scale is not known.
        """
        place = self._place(share)
        if place is not None:
            return self.numbers[:, place]
        shares, numbers = self._whole(ends or (np.nan, np.nan))
        right = int(np.searchsorted(shares, share))
        weight = (share - shares[right - 1]) / (shares[right] - shares[right - 1])
        found: Numbers = (1 - weight) * numbers[:, right - 1] + weight * numbers[:, right]
        return found

    def cumulative_at(self, targets: ArrayLike, ends: tuple[float, float]) -> Numbers:
        """Return the probability that each image's number is below a number, (N,), on lines between the quantiles.

        Args:
            targets: One number for each image, (N,).
            ends: As for `at`.
        """
        shares, numbers = self._whole(ends)
        at = numbers_of("targets", targets)
        found: Numbers = np.array([np.interp(one, row, shares) for one, row in zip(at, numbers, strict=True)])
        return found

    def _whole(self, ends: tuple[float, float]) -> tuple[Numbers, Numbers]:
        """Return shares and numbers from 0 to 1."""
        rows = len(self.numbers)
        low, high = (np.full((rows, 1), end) for end in ends)
        return np.array([0.0, *self.shares, 1.0]), np.hstack([low, self.numbers, high])


def quantile_columns(names: Sequence[Any]) -> dict[str, float]:
    """Return the columns that hold quantiles, with their shares in rising order.

    Example:
        >>> quantile_columns(["value", "q(0.95)", "q(0.05)", "q(x)"])
        {'q(0.05)': 0.05, 'q(0.95)': 0.95}
    """
    found = {str(name): float(match[1]) for name in names if (match := _COLUMN.fullmatch(str(name)))}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def quantiles_in(cells: NDArray[np.float64], shares: Sequence[float]) -> Quantiles | None:
    """Return the quantiles of rows, (N, S); None where there are none, or a row lacks one.

    Args:
        cells: The numbers, NaN where a cell is empty.
        shares: The share of each column.
    """
    return Quantiles(tuple(shares), cells) if len(shares) and np.isfinite(cells).all() else None
