"""One temperature for the probabilities of levels: `p_k^(1/T)`, scaled to a sum of 1; found on validation images.

For logits over levels that is `softmax(z / T)` (Guo et al., "On calibration of modern neural networks", ICML 2017,
section 4.2). Above 1 it makes a method less sure, below 1 surer. The order of the levels stays; expected numbers move.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from numclip_lightning.calibration.checks import Levels, Numbers, check_rows, probabilities_of
from numclip_lightning.errors import DataError

__all__ = ["LEAST", "MOST", "Temperature", "TemperatureBy", "fit_temperature", "with_temperature"]

TemperatureBy = Literal["nll", "rps"]

# The range that is searched: beyond it probabilities are one-hot, or even.
LEAST, MOST = 0.02, 50.0
# A probability of 0 in a file is one that was rounded.
_SMALLEST = 1e-12
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """A temperature and what it does to the score that it was chosen by.

    Attributes:
        value: T.
        by: The score: mean negative log-likelihood, or mean ranked probability score.
        n: How many images it was found on.
        before: The score at T = 1 on these images.
        after: The score at T.
    """

    value: float
    by: TemperatureBy
    n: int
    before: float
    after: float


def with_temperature(probabilities: ArrayLike, temperature: float) -> Numbers:
    """Return the probabilities of levels at another temperature, shape (N, K).

    Args:
        probabilities: At temperature 1, shape (N, K).
        temperature: T, above 0.

    Example:
        >>> with_temperature([[0.2, 0.8]], 2.0).round(4)
        array([[0.3333, 0.6667]])
    """
    logits = np.log(probabilities_of(probabilities).clip(_SMALLEST)) / temperature
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Numbers = raised / raised.sum(axis=1, keepdims=True)
    return shares


def fit_temperature(probabilities: ArrayLike, level: ArrayLike, by: TemperatureBy = "nll") -> Temperature:
    """Return the temperature with the least mean score.

    Args:
        probabilities: Shape (N, K), N at least 1.
        level: True levels, 0..K-1, shape (N,).
        by: The score: `nll`, or `rps`, which forgives a near miss.

    Raises:
        DataError: If there is no image, or a level is outside.
    """
    shares, true = probabilities_of(probabilities), np.asarray(level, dtype=np.int64)
    check_rows(probabilities=shares, level=true)
    if not len(true) or true.min() < 0 or true.max() >= shares.shape[1]:
        raise DataError(f"a temperature needs one image or more, with levels of 0..{shares.shape[1] - 1}.")

    def score(log_temperature: float) -> float:
        return _score(with_temperature(shares, math.exp(log_temperature)), true, by)

    best = _least(score)
    # Never worse than leaving the probabilities as they are.
    value = math.exp(best) if score(best) < score(0.0) else 1.0
    return Temperature(value=value, by=by, n=len(true), before=score(0.0), after=score(math.log(value)))


def _least(score: Callable[[float], float]) -> float:
    """Return where a function of log T is least: a grid, as the RPS may have several dips, then the golden section."""
    grid = np.linspace(math.log(LEAST), math.log(MOST), 80)
    place = int(np.argmin([score(float(at)) for at in grid]))
    low, high = float(grid[max(place - 1, 0)]), float(grid[min(place + 1, len(grid) - 1)])
    while high - low > 1e-6:
        one, two = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, two) if score(one) <= score(two) else (one, high)
    return (low + high) / 2


def _score(shares: Numbers, level: Levels, by: TemperatureBy) -> float:
    if by == "nll":
        return float(-np.log(shares[np.arange(len(level)), level].clip(_SMALLEST)).mean())
    reached = level[:, None] <= np.arange(shares.shape[1])
    return float(((shares.cumsum(axis=1) - reached) ** 2).sum(axis=1).mean())
