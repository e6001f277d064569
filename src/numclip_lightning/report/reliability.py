"""Whether a method is as sure as it is right: reliability of levels, PIT and coverage of values, selective error.

Everything is computed from a prediction file. For numbers, quantiles of the distribution over values are taken where
the file has them (columns such as `q(0.05)`); else the probability of a level is spread evenly over its values.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from numclip_lightning.calibration import LevelValues, Temperature, with_temperature
from numclip_lightning.calibration.distributions import cumulative_at
from numclip_lightning.calibration.quantiles import Quantiles

__all__ = [
    "CENTRAL",
    "central_coverage",
    "expected_calibration_error",
    "pit_histogram",
    "reliability",
    "selective_error",
    "temperature_effect",
]

# The central shares of a distribution whose coverage is shown.
CENTRAL = (0.5, 0.8, 0.9)
# The surest shares of the images whose error is shown.
_SUREST = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def reliability(probabilities: ArrayLike, level: ArrayLike, bins: int = 15) -> pd.DataFrame:
    """Return the data of a reliability diagram: of images that are so sure, how many have the right level?

    Args:
        probabilities: Of the levels, shape (N, K).
        level: True levels, 0..K-1, shape (N,).
        bins: How many bins of confidence, of equal width over 0..1, each with its lower end and without its upper; as
            in the metric `ece`, a confidence of exactly 1 has a bin of its own.

    Returns:
        A row for each bin that has images: low and high (its ends), n, confidence (the mean probability of the most
        probable level) and accuracy (the share of images where that level is the true one).
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    sure, right = shares.max(axis=1), shares.argmax(axis=1) == np.asarray(level)
    edges = np.linspace(0, 1, bins + 1)
    # A sum of probabilities may lie a rounding above 1.
    place = np.searchsorted(edges, sure, side="right") - 1
    found = pd.DataFrame({"bin": place, "confidence": sure, "accuracy": right.astype("float64")})
    table = found.groupby("bin").agg(
        n=("confidence", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean")
    )
    ends = np.append(edges, 1.0)
    table.insert(0, "low", ends[table.index])
    table.insert(1, "high", ends[table.index + 1])
    return table.reset_index(drop=True)


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Return the ECE of a table of `reliability`: the mean over images of their bin's |accuracy - confidence|.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3. With few images for each bin
    it is biased upwards: below 500 images, read it with care.
    """
    return float(((table["accuracy"] - table["confidence"]).abs() * table["n"]).sum() / table["n"].sum())


def _pit_ends(
    probabilities: ArrayLike, values: LevelValues, target: ArrayLike, quantiles: Quantiles | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return between which shares of its distribution each target lies: a value of a scale is no point but a step."""
    true = np.asarray(target, dtype=np.float64)
    ends = (float(values.edges[0]), float(values.edges[-1]))
    low, high = (
        cumulative_at(probabilities, values, side) if quantiles is None else quantiles.cumulative_at(side, ends)
        for side in values.around(true)
    )
    return low, np.maximum(high, low)


def _shares_between(low: NDArray[np.float64], high: NDArray[np.float64], start: float, end: float) -> float:
    """Return the mean share of the ranges low..high that lies between two ends."""
    width = high - low
    inside = np.minimum(high, end) - np.maximum(low, start)
    # A target that the distribution gives no probability is a point.
    points = (low >= start) & ((low < end) | (end == 1))
    found = np.divide(inside.clip(0), width, out=points.astype(np.float64), where=width > 0)
    return float(found.mean())


def pit_histogram(
    probabilities: ArrayLike,
    values: LevelValues,
    target: ArrayLike,
    bins: int = 10,
    quantiles: Quantiles | None = None,
) -> pd.DataFrame:
    """Return the histogram of where targets lie in their predicted distributions; flat if those are calibrated.

    High at both ends: too sure. High in the middle: not sure enough. Sloped: values too low, or too high. The
    transform of discrete values is not randomised; each is spread evenly over its step (Czado, Gneiting and Held,
    "Predictive model assessment for count data", Biometrics 2009).

    Args:
        probabilities: Of the levels, shape (N, K).
        values: The numbers of the levels.
        target: True numbers, shape (N,).
        bins: How many, of equal width.
        quantiles: Of the distributions over values, which are taken in place of the probabilities if they are known.

    Returns:
        low, high (ends of the bin), and share (of the images; 1 / bins if calibrated).
    """
    low, high = _pit_ends(probabilities, values, target, quantiles)
    edges = np.linspace(0, 1, bins + 1)
    shares = [_shares_between(low, high, start, end) for start, end in pairwise(edges)]
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "share": shares})


def central_coverage(
    probabilities: ArrayLike,
    values: LevelValues,
    target: ArrayLike,
    shares: Sequence[float] = CENTRAL,
    quantiles: Quantiles | None = None,
) -> pd.DataFrame:
    """Return how many targets lie in the central part of their predicted distribution.

    Args:
        probabilities: Of the levels, shape (N, K).
        values: The numbers of the levels.
        target: True numbers, shape (N,).
        shares: The central parts, such as 0.9.
        quantiles: As for `pit_histogram`.

    Returns:
        nominal and coverage, equal if the distributions are calibrated; below: too sure.
    """
    low, high = _pit_ends(probabilities, values, target, quantiles)
    found = [_shares_between(low, high, (1 - share) / 2, (1 + share) / 2) for share in shares]
    return pd.DataFrame({"nominal": list(shares), "coverage": found})


def selective_error(
    value: ArrayLike, target: ArrayLike, spread: ArrayLike, shares: Sequence[float] = _SUREST
) -> pd.DataFrame:
    """Return the mean absolute error of the surest images; it falls to the left if the spread knows anything.

    Args:
        value: Predicted numbers, shape (N,).
        target: True numbers, shape (N,).
        spread: How unsure each is, shape (N,): the standard deviation of its distribution, or the width of its
            interval.
        shares: Which shares of the images, surest first; of equally sure ones, the first in the file.

    Returns:
        share, n and mae, in the unit of the value.
    """
    errors = np.abs(np.asarray(value, dtype=np.float64) - np.asarray(target, dtype=np.float64))
    ordered = errors[np.argsort(np.asarray(spread, dtype=np.float64), kind="stable")]
    counts = [max(1, round(share * len(ordered))) for share in shares]
    return pd.DataFrame(
        {"share": list(shares), "n": counts, "mae": [float(ordered[:count].mean()) for count in counts]}
    )


def temperature_effect(
    probabilities: ArrayLike, values: LevelValues, target: ArrayLike, temperature: Temperature | float
) -> pd.DataFrame:
    """Return what a temperature changes on images that it was not found on.

    Args:
        probabilities: Of the levels at temperature 1, shape (N, K).
        values: The numbers of the levels.
        target: True numbers, shape (N,).
        temperature: T.

    Returns:
        A row for T = 1 and one for T: temperature, nll, rps, ece (over levels), mae (of the expected number: the most
        probable level stays, the expectation moves), and the coverage of the central 90 %.
    """
    number = temperature.value if isinstance(temperature, Temperature) else float(temperature)
    true, centers = values.level_at(target), values.moments()[0]
    rows = []
    for at in (1.0, number):
        shares = with_temperature(probabilities, at)
        reached = true[:, None] <= np.arange(shares.shape[1])
        rows.append({
            "temperature": at,
            "nll": float(-np.log(shares[np.arange(len(true)), true].clip(1e-12)).mean()),
            "rps": float(((shares.cumsum(axis=1) - reached) ** 2).sum(axis=1).mean()),
            "ece": expected_calibration_error(reliability(shares, true)),
            "mae": float(np.abs(shares @ centers - np.asarray(target, dtype=np.float64)).mean()),
            "central_90": float(central_coverage(shares, values, target, [0.9])["coverage"][0]),
        })  # fmt: skip
    return pd.DataFrame(rows)
