"""How sure a mean over test images is, and a difference of two methods on the same images: bootstrap and sign flips.

The number of an image is whatever is averaged: its absolute error, 1 or 0 for right or wrong, its score. Images of one
group (a patient, a person, a scene) are not independent. Where groups are given they are drawn, and flipped, whole.

These intervals are of the test images alone. That another training run would end elsewhere is a second uncertainty,
which only several seeds show: see `paired`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numclip_lightning.errors import ConfigError
from numclip_lightning.report.resampling import chunks, ends

__all__ = ["Difference", "Interval", "bootstrap_difference", "bootstrap_mean", "sign_flip_test"]

_Numbers = NDArray[np.float64]
# Sums of the same numbers in another order differ by this share of their absolute sum at most.
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean and its confidence interval.

    Attributes:
        mean: The mean over the images, in their unit.
        low: The lower end.
        high: The upper end.
        level: The confidence, 0..1.
        images: How many images there are.
        groups: How many groups were drawn from; the number of images where none were given.
    """

    mean: float
    low: float
    high: float
    level: float
    images: int
    groups: int


@dataclass(frozen=True, kw_only=True)
class Difference(Interval):
    """The mean of one method less another on the same images, its interval, and a two-sided p-value.

    Attributes:
        p: Of the bootstrap: how often, times two, a drawn difference is 0 or has the other sign.
    """

    p: float


def bootstrap_mean(
    numbers: ArrayLike,
    *,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    level: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """Return the mean of per-image numbers with its percentile bootstrap interval.

    Images are drawn with replacement, as many as there are; with groups, groups are (as many as there are), and the
    mean is over all images of the drawn ones. Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993,
    chapter 13; of groups, Davison and Hinkley, "Bootstrap methods and their application", 1997, section 3.8.

    Args:
        numbers: One for each image, shape (N,), N at least 1.
        groups: The group of each image, N of them; None where each image is its own.
        level: The confidence, between 0 and 1.
        resamples: How often is drawn.
        seed: Of the draws; the same seed gives the same interval.

    Returns:
        The interval.

    Raises:
        ConfigError: If there are fewer than 2 images or groups, a number is not finite, the groups are of another
            length, or an argument is out of range.

    Example:
        >>> interval = bootstrap_mean([1.0, 2.0, 2.0, 5.0, 0.0, 2.0])
        >>> print(f"{interval.mean:.2f} ({interval.low:.2f} to {interval.high:.2f})")
        2.00 (1.00 to 3.33)
    """
    values = _checked("numbers", numbers)
    drawn, units = _drawn_means(values, groups, level, resamples, seed)
    low, high = ends(drawn, level)
    return Interval(mean=float(values.mean()), low=low, high=high, level=level, images=len(values), groups=units)


def bootstrap_difference(
    ours: ArrayLike,
    theirs: ArrayLike,
    *,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    level: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Difference:
    """Return the mean of `ours - theirs`, two methods on the same images, with its interval and p-value.

    What makes an image hard for both cancels, so that a difference far smaller than either interval is seen.

    Args:
        ours: The number of each image under the one method, shape (N,).
        theirs: Under the other, of the same images in the same order.
        groups: As of `bootstrap_mean`.
        level: The confidence.
        resamples: How often is drawn; the least p-value is `2 / (resamples + 1)`.
        seed: Of the draws.

    Returns:
        The difference. Where it is 0 on every image, p is 1.

    Raises:
        ConfigError: As `bootstrap_mean`, and if the lengths differ.

    Example:
        >>> found = bootstrap_difference([1.0, 2.0, 2.0, 5.0, 0.0, 2.0], [2.0, 3.0, 4.0, 5.0, 1.0, 2.0])
        >>> print(f"{found.mean:.2f} ({found.low:.2f} to {found.high:.2f}), p {found.p:.3f}")
        -0.83 (-1.33 to -0.33), p 0.002
    """
    values = _paired(ours, theirs)
    drawn, units = _drawn_means(values, groups, level, resamples, seed)
    low, high = ends(drawn, level)
    edge = _ROUNDING * float(np.abs(values).mean())
    # With the observed one among them, p is never 0 (Davison and Hinkley, section 4.2).
    beyond = min(int((drawn <= edge).sum()), int((drawn >= -edge).sum()))
    p = min(1.0, 2 * (beyond + 1) / (resamples + 1))
    size = len(values)
    return Difference(mean=float(values.mean()), low=low, high=high, level=level, images=size, groups=units, p=p)


def sign_flip_test(
    ours: ArrayLike,
    theirs: ArrayLike,
    *,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    resamples: int = 9999,
    seed: int = 0,
) -> float:
    """Return the two-sided p-value of a permutation test: do two methods differ on the same images?

    Were they alike, which is which would be by chance on each image (or group, whole): the sign of its difference
    might as well be the other. p is the share of all signs whose mean difference is at least as far from 0. It assumes
    no distribution. Source: Fisher, "The design of experiments", 1935, section 21.

    Args:
        ours: The number of each image under the one method, shape (N,).
        theirs: Under the other, of the same images in the same order.
        groups: As of `bootstrap_mean`.
        resamples: How many signs are drawn; where there are no more than this at all, each is taken once, and p is
            exact.
        seed: Of the draws.

    Returns:
        p, above 0 and at most 1. G groups can't give less than `2 / 2**G`: 5 can't show a difference at 0.05.

    Raises:
        ConfigError: As `bootstrap_difference`.

    Example:
        >>> sign_flip_test([1.0, 2.0, 2.0, 5.0, 0.0, 2.0], [2.0, 3.0, 4.0, 5.5, 1.0, 2.5])
        0.03125
    """
    values = _paired(ours, theirs)
    _check_count(resamples)
    sums, _ = _by_group(values, groups)
    bound = abs(sums.sum()) - _ROUNDING * np.abs(sums).sum()
    if len(sums) < 63 and 2 ** len(sums) <= resamples:
        place = np.arange(2 ** len(sums))
        signs = 1.0 - 2.0 * ((place[:, None] >> np.arange(len(sums))) & 1)
        return float((np.abs(signs @ sums) >= bound).mean())
    random = np.random.default_rng(seed)
    beyond = 0
    for rows in chunks(resamples, len(sums)):
        signs = 1.0 - 2.0 * random.integers(0, 2, (rows, len(sums)), dtype=np.int8)
        beyond += int((np.abs(signs @ sums) >= bound).sum())
    return (beyond + 1) / (resamples + 1)


def _drawn_means(
    values: _Numbers, groups: Sequence[Any] | NDArray[Any] | None, level: float, resamples: int, seed: int
) -> tuple[_Numbers, int]:
    """Return the mean of each resample, and how many units were drawn from."""
    _check_count(resamples)
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}; give a confidence between 0 and 1, such as 0.95.")
    sums, counts = _by_group(values, groups)
    if len(sums) < 2:
        raise ConfigError("there is 1 image, or 1 group of images; an interval needs 2 or more.")
    random = np.random.default_rng(seed)
    means = []
    for rows in chunks(resamples, len(sums)):
        drawn = random.integers(0, len(sums), (rows, len(sums)))
        # Without groups, as many images are drawn as there are.
        means.append(sums[drawn].sum(axis=1) / (len(sums) if groups is None else counts[drawn].sum(axis=1)))
    return np.concatenate(means), len(sums)


def _by_group(values: _Numbers, groups: Sequence[Any] | NDArray[Any] | None) -> tuple[_Numbers, _Numbers]:
    """Return the sum and the number of images of each group, in the order of their names."""
    if groups is None:
        return values, np.ones_like(values)
    if len(groups) != len(values):
        raise ConfigError(f"groups has {len(groups)} entries for {len(values)} images; give the group of each image.")
    _, place, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return np.bincount(place, weights=values).astype(np.float64), counts.astype(np.float64)


def _paired(ours: ArrayLike, theirs: ArrayLike) -> _Numbers:
    one, other = _checked("ours", ours), _checked("theirs", theirs)
    if len(one) != len(other):
        raise ConfigError(f"ours has {len(one)} numbers and theirs {len(other)}; give both of the same images.")
    return one - other


def _checked(name: str, numbers: ArrayLike) -> _Numbers:
    values = np.asarray(numbers, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ConfigError(f"{name} has the shape {values.shape}; give one number for each image, at least one.")
    if not np.isfinite(values).all():
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ConfigError(f"{name} has {values[place]} at place {place}; give finite numbers, or leave that image out.")
    return values


def _check_count(resamples: int) -> None:
    if resamples < 1:
        raise ConfigError(f"resamples is {resamples}; give a number of 1 or more, such as 9999.")
