"""How well a score tells images that belong from images that don't: AUROC, false positives at a recall, intervals."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numclip_lightning.errors import ConfigError

__all__ = ["Separation", "auroc", "false_positives", "separation"]

_Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How well a score separates, with percentile bootstrap intervals.

    Attributes:
        auroc: The chance that an image that belongs scores higher than one that doesn't, 0..1; ties count half.
        auroc_low: The lower end of its interval.
        auroc_high: The upper end.
        false_positives: The share of images that don't belong and pass, where `recall` of those that belong do.
        false_positives_low: The lower end of its interval.
        false_positives_high: The upper end.
        recall: At which recall, 0..1.
        level: The confidence of the intervals, 0..1.
        on: How many images belong.
        off: How many don't.
    """

    auroc: float
    auroc_low: float
    auroc_high: float
    false_positives: float
    false_positives_low: float
    false_positives_high: float
    recall: float
    level: float
    on: int
    off: int

    def __str__(self) -> str:
        """Say it in words."""
        return (
            f"AUROC {self.auroc:.3f} ({self.auroc_low:.3f} to {self.auroc_high:.3f}), and "
            f"{self.false_positives:.1%} ({self.false_positives_low:.1%} to {self.false_positives_high:.1%}) of them "
            f"pass where {self.recall:.0%} of the others do"
        ).replace("%", " %")


def auroc(on: ArrayLike, off: ArrayLike) -> float:
    """Return the area under the ROC curve: P(on > off) + P(on = off) / 2.

    Args:
        on: Scores of images that belong, (N,), N at least 1; a larger one is surer.
        off: Scores of those that don't, (M,), M at least 1.

    Returns:
        0..1; `auroc(a, b) == 1 - auroc(b, a)`.

    Raises:
        ConfigError: If one is empty or a score is not finite.

    Example:
        >>> round(auroc([0.9, 0.8, 0.4], [0.4, 0.1]), 4)
        0.9167
    """
    return _auroc(_checked("on", on), np.sort(_checked("off", off)))


def false_positives(on: ArrayLike, off: ArrayLike, recall: float = 0.95) -> float:
    """Return the share of images that don't belong and pass a threshold that at least `recall` of the others pass.

    Args:
        on: As of `auroc`.
        off: As of `auroc`.
        recall: Above 0 and up to 1. The threshold is the largest score of `on` that leaves it.

    Returns:
        0..1; 0 is perfect.

    Raises:
        ConfigError: If one is empty, a score is not finite, or the recall is out of range.

    Example:
        >>> false_positives([0.9, 0.8, 0.7, 0.3], [0.75, 0.1], recall=0.75)
        0.5
    """
    if not 0 < recall <= 1:
        raise ConfigError(f"recall is {recall}; give a share above 0 and up to 1, such as 0.95.")
    return _false_positives(np.sort(_checked("on", on)), _checked("off", off), recall)


def separation(
    on: ArrayLike,
    off: ArrayLike,
    *,
    groups: Sequence[Hashable] | None = None,
    recall: float = 0.95,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Separation:
    """Return how well scores separate, with intervals: images that belong and that don't are drawn apart.

    Args:
        on: Scores of images that belong, (N,), N at least 2.
        off: Scores of those that don't, (M,), M at least 2.
        groups: The group of each image that belongs, such as its patient: they are drawn whole. None where each image
            is its own.
        recall: As of `false_positives`.
        level: The confidence, between 0 and 1.
        resamples: How often is drawn.
        seed: Of the draws.

    Raises:
        ConfigError: As `false_positives`, and if there are fewer than 2 images or groups of a kind.
    """
    ours, theirs = _checked("on", on), _checked("off", off)
    area, passing = auroc(ours, theirs), false_positives(ours, theirs, recall)
    places = _places(groups, len(ours))
    if min(len(places), len(theirs)) < 2:
        raise ConfigError("there is 1 image, or 1 group of images, of a kind; an interval needs 2 or more.")
    random = np.random.default_rng(seed)
    drawn = np.empty((resamples, 2))
    for row in drawn:
        chosen = random.integers(0, len(places), len(places))
        one = np.sort(ours[np.concatenate([places[i] for i in chosen]) if groups is not None else chosen])
        other = np.sort(theirs[random.integers(0, len(theirs), len(theirs))])
        row[:] = _auroc(one, other), _false_positives(one, other, recall)
    (area_low, passing_low), (area_high, passing_high) = np.percentile(
        drawn, [50 * (1 - level), 50 * (1 + level)], axis=0
    )
    return Separation(
        auroc=area, auroc_low=float(area_low), auroc_high=float(area_high), false_positives=passing,
        false_positives_low=float(passing_low), false_positives_high=float(passing_high), recall=recall, level=level,
        on=len(ours), off=len(theirs),
    )  # fmt: skip


def _auroc(on: _Numbers, off: _Numbers) -> float:
    """`off` is sorted."""
    below = np.searchsorted(off, on, side="left").mean()
    within = np.searchsorted(off, on, side="right").mean()
    return float((below + within) / 2 / len(off))


def _false_positives(on: _Numbers, off: _Numbers, recall: float) -> float:
    """`on` is sorted."""
    # With room for the rounding of 1 - 0.95.
    threshold = on[int(np.floor((1 - recall) * len(on) + 1e-9))]
    return float((off >= threshold).mean())


def _places(groups: Sequence[Hashable] | None, size: int) -> list[NDArray[np.int64]]:
    if groups is None:
        return list(np.arange(size)[:, None])
    if len(groups) != size:
        raise ConfigError(f"groups has {len(groups)} entries for {size} images; give the group of each image.")
    found: dict[Hashable, list[int]] = {}
    for place, group in enumerate(groups):
        found.setdefault(group, []).append(place)
    return [np.array(own) for own in found.values()]


def _checked(name: str, scores: ArrayLike) -> _Numbers:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ConfigError(f"{name} has the shape {values.shape}; give one score for each image, at least one.")
    if not np.isfinite(values).all():
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ConfigError(f"{name} has {values[place]} at place {place}; give finite scores, or leave that image out.")
    return values
