"""From the probabilities of levels to a distribution over numbers: the probability of a level, spread over its values.

A level of one value has all its probability there. For quantiles a value v stands for the numbers from half a step
below it to half a step above, so that the distribution has no jumps, and its ends are half a step outside the scale. On
a logarithmic scale a step is a factor, and probability is spread evenly over the logarithms.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from numclip_lightning.calibration.checks import Levels, Numbers, numbers_of, probabilities_of
from numclip_lightning.errors import ConfigError
from numclip_lightning.scale import OrdinalScale
from numclip_lightning.scale.grid import LogGrid

__all__ = ["LevelValues", "cumulative_at", "level_quantiles", "level_spread"]


@dataclass(frozen=True)
class LevelValues:
    """The numbers of each level, without words.

    Args:
        lower: The first value of each level, increasing, K of them.
        upper: The last value of each level, K of them.
        step: The distance between values; on a logarithmic scale the factor from one to the next.
        logarithmic: Whether the scale is.

    Raises:
        ConfigError: If they do not fit together.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    step: float
    logarithmic: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        lower, upper = np.array(self.lower), np.array(self.upper)
        if not len(lower) or lower.shape != upper.shape or not self.step > self.logarithmic:
            raise ConfigError(f"levels from {self.lower} to {self.upper} in steps of {self.step} are no scale.")
        if self.logarithmic and (lower <= 0).any():
            raise ConfigError(f"levels from {self.lower} are no logarithmic scale, which is above 0.")
        # On a logarithmic scale a level may start between two values.
        follows = (
            (lower[1:] > upper[:-1]).all()
            if self.logarithmic
            else np.allclose(lower[1:] - upper[:-1], self.step, rtol=1e-4)
        )
        if (upper < lower).any() or not follows:
            raise ConfigError(f"levels from {self.lower} to {self.upper} do not follow each other by {self.step}.")

    @classmethod
    def of(cls, scale: OrdinalScale) -> "LevelValues":
        """Return the numbers of a scale's levels."""
        # The digits that the user wrote: 0.1 is 0.10000000149 as a float32.
        lower, upper = ([float(f"{number:.7g}") for number in ends.tolist()] for ends in (scale.lower, scale.upper))
        grid = scale.grid
        if isinstance(grid, LogGrid):
            return cls(tuple(lower), tuple(upper), grid.ratio, logarithmic=True)
        return cls(tuple(lower), tuple(upper), float(scale.step))

    @property
    def minimum(self) -> float:
        """The smallest value."""
        return self.lower[0]

    @property
    def maximum(self) -> float:
        """The largest value."""
        return self.upper[-1]

    @property
    def edges(self) -> Numbers:
        """Where each level begins, half a step below its first value, and where the last one ends; (K + 1,)."""
        if self.logarithmic:
            inner = np.sqrt(np.array(self.upper[:-1]) * np.array(self.lower[1:]))
            half = self.step**0.5
            return np.array([self.lower[0] / half, *inner, self.upper[-1] * half])
        return np.array([*self.lower, self.upper[-1] + self.step]) - self.step / 2

    def places(self, numbers: ArrayLike) -> Numbers:
        """Return numbers as they are, or on a logarithmic scale their logarithms: probability is even over these."""
        found = np.asarray(numbers, dtype=np.float64)
        return np.log(np.maximum(found, np.finfo(np.float64).tiny)) if self.logarithmic else found

    def half_step(self, numbers: ArrayLike) -> Numbers | float:
        """Return the distance of numbers to those half a step below, in their unit."""
        if not self.logarithmic:
            return self.step / 2
        found = np.asarray(numbers, dtype=np.float64)
        below: Numbers = found - found / self.step**0.5
        return below

    def around(self, numbers: ArrayLike) -> tuple[Numbers, Numbers]:
        """Return the numbers half a step below and half a step above."""
        found = np.asarray(numbers, dtype=np.float64)
        if self.logarithmic:
            return found / self.step**0.5, found * self.step**0.5
        return found - self.step / 2, found + self.step / 2

    def moments(self) -> tuple[Numbers, Numbers]:
        """Return mean and variance of the values of each level, (K,) each."""
        lower, upper = np.array(self.lower), np.array(self.upper)
        if not self.logarithmic:
            sizes = np.round((upper - lower) / self.step) + 1
            return (lower + upper) / 2, (sizes**2 - 1) / 12 * self.step**2
        firsts = np.array([lower[0], *(upper[:-1] * self.step)])
        sizes = np.round(np.log(upper / firsts) / np.log(self.step)).astype(np.int64) + 1
        values = [first * self.step ** np.arange(size) for first, size in zip(firsts, sizes, strict=True)]
        return np.array([own.mean() for own in values]), np.array([own.var() for own in values])

    def level_at(self, value: ArrayLike) -> Levels:
        """Return the level of each number, int64; outside the scale, the first or the last level."""
        return np.searchsorted(self.edges[1:-1], np.asarray(value, dtype=np.float64), side="right").astype(np.int64)


def level_quantiles(probabilities: ArrayLike, values: LevelValues, share: float) -> Numbers:
    """Return a quantile of each image's distribution over numbers.

    Args:
        probabilities: Of the levels, shape (N, K).
        values: The numbers of the levels.
        share: Which quantile, 0..1.

    Returns:
        Numbers from half a step below the scale to half a step above it, shape (N,). They are not cut to the scale:
        all images whose number is the first or the last one would have the same score, and ties cover too much.

    Example:
        >>> levels = LevelValues((0, 10), (9, 19), 1)
        >>> level_quantiles([[0.5, 0.5], [1.0, 0.0]], levels, 0.25)
        array([4.5, 2. ])
    """
    shares, edges = _checked(probabilities, values), values.places(values.edges)
    cumulative = np.concatenate([np.zeros((len(shares), 1)), shares.cumsum(axis=1)], axis=1)
    # The first level at which the summed probability reaches the share.
    level = np.minimum((cumulative[:, 1:] < share).sum(axis=1), len(edges) - 2)
    rows = np.arange(len(shares))
    mass = shares[rows, level]
    inside = np.divide(share - cumulative[rows, level], mass, out=np.zeros_like(mass), where=mass > 0)
    found: Numbers = edges[level] + inside.clip(0, 1) * np.diff(edges)[level]
    return np.exp(found) if values.logarithmic else found


def cumulative_at(probabilities: ArrayLike, values: LevelValues, numbers: ArrayLike) -> Numbers:
    """Return the probability that each image's number is below a number, shape (N,).

    Args:
        probabilities: Of the levels, shape (N, K).
        values: The numbers of the levels.
        numbers: One for each image, shape (N,).
    """
    shares, edges = _checked(probabilities, values), values.places(values.edges)
    at = values.places(numbers_of("numbers", numbers))
    inside = (at[:, None] - edges[:-1]) / np.diff(edges)
    below: Numbers = (shares * inside.clip(0, 1)).sum(axis=1)
    return below


def level_spread(probabilities: ArrayLike, values: LevelValues) -> Numbers:
    """Return the standard deviation of each image's distribution over the values of the scale, shape (N,).

    Args:
        probabilities: Of the levels, shape (N, K); that of a level is spread evenly over its values.
        values: The numbers of the levels.

    Example:
        >>> level_spread([[0.5, 0.5], [1.0, 0.0]], LevelValues((0, 10), (0, 10), 10))
        array([5., 0.])
    """
    shares, (centers, within) = _checked(probabilities, values), values.moments()
    mean = shares @ centers
    spread: Numbers = np.sqrt((shares * ((centers - mean[:, None]) ** 2 + within)).sum(axis=1))
    return spread


def _checked(probabilities: ArrayLike, values: LevelValues) -> Numbers:
    shares = probabilities_of(probabilities)
    if shares.shape[1] != len(values.lower):
        raise ConfigError(f"there are probabilities of {shares.shape[1]} levels; the scale has {len(values.lower)}.")
    return shares
