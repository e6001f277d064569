"""Correlations of ranks over drawn images: Spearman's and Kendall's, for intervals from the draws of all other metrics.

A correlation of ranks is no function of sums over images. It is one of how often each image is drawn: Spearman's needs
the ranks of weighted images, Kendall's a sum over all pairs, weighted by both.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from numclip_lightning.report.resampling import RESAMPLES, drawn_times

__all__ = ["drawn_kendall", "drawn_spearman"]

_Numbers = NDArray[np.float64]
# Up to so many units (images, or groups of them) pairs are weighted by both; more are drawn as if pairs were alone.
_MOST_PAIRED = 3000
# Rows of a table of pairs at a time.
_ROWS = 200


class _Ties(NamedTuple):
    """Which images have equal numbers.

    Attributes:
        place: The place of each image's number among all different ones, rising, (N,).
        member: Which image has which number, (N, U).
    """

    place: NDArray[np.int64]
    member: sparse.csr_matrix

    @classmethod
    def of(cls, numbers: ArrayLike) -> "_Ties":
        different, place = np.unique(np.asarray(numbers, dtype=np.float64), return_inverse=True)
        entries = (np.ones(len(place)), (np.arange(len(place)), place.ravel()))
        return cls(place.ravel(), sparse.csr_matrix(entries, shape=(len(place), len(different))))

    def counts(self, times: _Numbers) -> _Numbers:
        """Return how many drawn images have each number, (draws, U)."""
        found: _Numbers = (self.member.T @ times.T).T
        return found


def drawn_spearman(
    value: ArrayLike, target: ArrayLike, *, groups: Any = None, resamples: int = RESAMPLES, seed: int = 0
) -> _Numbers:
    """Return Spearman's rank correlation of each draw, (resamples,); NaN where all drawn numbers are equal.

    Args:
        value: Predicted numbers, (N,).
        target: True numbers, (N,).
        groups: The group of each image, N of them; None where each image is its own.
        resamples: How often is drawn.
        seed: Of the draws, which are those of `resampled_sums`.

    Raises:
        ConfigError: As `resampled_sums`.
    """
    sides = _Ties.of(value), _Ties.of(target)
    found = []
    for times, place in drawn_times(len(sides[0].place), groups=groups, resamples=resamples, seed=seed):
        weights = times[:, place]
        centred, spreads = [], []
        for ties in sides:
            counts = ties.counts(weights)
            # Equal numbers share the mean of their ranks; less the mean of all.
            ranks = counts.cumsum(axis=1) - counts / 2 - counts.sum(axis=1, keepdims=True) / 2
            centred.append(ranks[:, ties.place])
            spreads.append((counts * ranks**2).sum(axis=1))
        product = (weights * centred[0] * centred[1]).sum(axis=1)
        found.append(_ratio(product, np.sqrt(spreads[0] * spreads[1])))
    return np.concatenate(found)


def drawn_kendall(
    value: ArrayLike, target: ArrayLike, *, groups: Any = None, resamples: int = RESAMPLES, seed: int = 0
) -> _Numbers:
    """Return Kendall's tau-b of each draw, (resamples,); NaN where all drawn numbers are equal.

    With more than 3,000 images (or groups), the sum over pairs is replaced by its projection on single images
    (Hoeffding 1948), which is what decides its spread; ties are counted as they are.

    Args:
        value: As of `drawn_spearman`.
        target: As of `drawn_spearman`.
        groups: As of `drawn_spearman`.
        resamples: As of `drawn_spearman`.
        seed: As of `drawn_spearman`.
    """
    sides = _Ties.of(value), _Ties.of(target)
    pairs: _Numbers | None = None
    found = []
    for times, place in drawn_times(len(sides[0].place), groups=groups, resamples=resamples, seed=seed):
        units = times.shape[1]
        if pairs is None:
            pairs = _pairs(sides, place, units)
        if units <= _MOST_PAIRED:
            order = ((times @ pairs) * times).sum(axis=1)
        else:
            order = (2 * times @ pairs - pairs.sum()) * (1 - 1 / units)
        weights = times[:, place]
        untied = [weights.sum(axis=1) ** 2 - (ties.counts(weights) ** 2).sum(axis=1) for ties in sides]
        found.append(_ratio(order, np.sqrt(untied[0]) * np.sqrt(untied[1])))
    return np.concatenate(found)


def _pairs(sides: tuple[_Ties, _Ties], place: NDArray[np.int64], units: int) -> _Numbers:
    """Return pairs in the same order less pairs in the other: of each two units, (U, U), or of each one, (U,)."""
    images = len(place)
    member = sparse.csr_matrix((np.ones(images), (np.arange(images), place)), shape=(images, units))
    whole = units <= _MOST_PAIRED
    rows = []
    for start in range(0, images, _ROWS):
        part = slice(start, start + _ROWS)
        signs = [np.sign(ties.place[part, None] - ties.place, dtype=np.float32, casting="unsafe") for ties in sides]
        product = signs[0] * signs[1]
        rows.append((member.T @ product.T).T if whole else product.sum(axis=1, dtype=np.float64))
    found: _Numbers = member.T @ np.concatenate(rows)
    return found


def _ratio(above: _Numbers, below: _Numbers) -> _Numbers:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
