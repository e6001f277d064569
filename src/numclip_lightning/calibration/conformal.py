"""Split conformal prediction of a number: an interval that holds the true number of a chosen share of new images.

It needs images that the method was not trained on and nothing else: no distribution, no model. Their scores (how far
off the method was) are sorted, and the threshold is the score that `ceil((n + 1) coverage)` of them do not exceed. For
a new image from the same source the chance that its number lies in the interval is then at least the coverage,
and with scores that do not tie at most `1 / (n + 1)` more. Sources: Vovk et al., "Algorithmic learning in a random
world", 2005; Lei et al., "Distribution-free predictive inference for regression", JASA 2018; Romano et al.,
"Conformalized quantile regression", NeurIPS 2019 (the quantiles).
"""

import math
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from numclip_lightning.calibration.checks import Numbers, check_coverage, numbers_of

__all__ = ["Intervals", "Threshold", "conformal_threshold", "fewest_images", "interval_ends", "interval_scores"]

Intervals = Literal["absolute", "normalised", "quantiles"]


class Threshold(NamedTuple):
    """The threshold of a conformal score.

    Attributes:
        n: How many images it was found on.
        value: The threshold; infinite if they are too few for the coverage.
    """

    n: int
    value: float

    @property
    def is_finite(self) -> bool:
        """Whether there were images enough."""
        return math.isfinite(self.value)


def conformal_threshold(scores: ArrayLike, coverage: float) -> Threshold:
    """Return the smallest score that at least `ceil((n + 1) coverage)` of n scores do not exceed.

    Args:
        scores: One for each image, shape (n,); larger is stranger. Infinite scores are allowed, NaN is not.
        coverage: The share of new images that shall not exceed it, between 0 and 1.

    Returns:
        n and the threshold; infinite if n is less than `fewest_images(coverage)`.

    Raises:
        ConfigError: If the coverage is no share.

    Example:
        >>> conformal_threshold([5.0, 1.0, 2.0, 4.0, 3.0, 9.0, 6.0, 7.0, 8.0], 0.9)
        Threshold(n=9, value=9.0)
        >>> conformal_threshold([5.0, 1.0, 2.0], 0.9)
        Threshold(n=3, value=inf)
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    rank = _rank(len(ordered), coverage)
    return Threshold(len(ordered), float(ordered[rank - 1]) if rank <= len(ordered) else math.inf)


def fewest_images(coverage: float) -> int:
    """Return how many images a finite threshold needs: 9 for 90 %, 19 for 95 %.

    Example:
        >>> fewest_images(0.9), fewest_images(0.95), fewest_images(0.5)
        (9, 19, 1)
    """
    check_coverage(coverage)
    share = _exact(coverage)
    return math.ceil(share / (1 - share))


def _rank(n: int, coverage: float) -> int:
    check_coverage(coverage)
    return math.ceil((n + 1) * _exact(coverage))


def _exact(coverage: float) -> Fraction:
    """Return the share as it was written: as a float, 0.9 is a little more than nine tenths."""
    return Fraction(repr(float(coverage)))


def interval_scores(target: ArrayLike, low: ArrayLike, high: ArrayLike, width: ArrayLike | float = 1.0) -> Numbers:
    """Return how far each true number is outside an interval, in units of a width; negative inside.

    The three kinds of interval have one score, `max(low - y, y - high) / width`:

    - absolute: low and high are the value, the width is 1;
    - normalised: the same, and the width is the image's own spread;
    - quantiles: low and high are quantiles of the image's distribution, the width is 1.

    Args:
        target: True numbers, shape (N,).
        low: Lower ends, shape (N,).
        high: Upper ends, shape (N,).
        width: The unit of each image, 0 or more, shape (N,) or one for all. Where it is 0, a miss is infinitely strange
            and a hit is not strange at all.

    Example:
        >>> interval_scores([3.0, 5.0], [4.0, 4.0], [6.0, 6.0])
        array([ 1., -1.])
    """
    y, below, above = numbers_of("target", target), numbers_of("low", low), numbers_of("high", high)
    distance = np.maximum(below - y, y - above)
    unit = np.broadcast_to(np.asarray(width, dtype=np.float64), distance.shape)
    sure = np.where(distance > 0, math.inf, np.where(distance < 0, -math.inf, 0.0))
    return np.divide(distance, unit, out=sure, where=unit > 0)


def interval_ends(
    low: ArrayLike,
    high: ArrayLike,
    threshold: ArrayLike | float,
    width: ArrayLike | float = 1.0,
    ends: tuple[float, float] | None = None,
) -> tuple[Numbers, Numbers]:
    """Return the numbers whose score is at most a threshold, within the scale: lower and upper ends, shape (N,).

    Args:
        low: As for `interval_scores`, shape (N,).
        high: Likewise.
        threshold: Of all images, or of each, shape (N,); infinite gives the whole scale.
        width: As for `interval_scores`.
        ends: The least and the largest number of the scale, to which intervals are cut: true numbers are within it, so
            that nothing is lost. None cuts nothing.

    Example:
        >>> interval_ends([4.0, 1.0], [4.0, 1.0], 2.0, ends=(0.0, 10.0))
        (array([2., 0.]), array([6., 3.]))
    """
    below, above = numbers_of("low", low), numbers_of("high", high)
    bound, unit = np.asarray(threshold, dtype=np.float64), np.asarray(width, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        # 0 times infinity: without a threshold the interval has no end, however sure the method is.
        reach = np.where(np.isinf(bound), bound, bound * unit)
    lower, upper = below - reach, above + reach
    # A negative threshold can leave nothing between the ends: their middle then.
    crossed = lower > upper
    middle = (below + above) / 2
    lower, upper = np.where(crossed, middle, lower), np.where(crossed, middle, upper)
    if ends is not None:
        lower, upper = np.clip(lower, *ends), np.clip(upper, *ends)
    return lower, upper
