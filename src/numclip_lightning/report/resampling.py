"""Many sums over the same test images, drawn again and again: intervals of whatever is a function of such sums.

A mean, a share, a root of a mean, a correlation and Cohen's kappa are functions of sums over images. Where all of them
come from one set of draws, a difference between two of them has an interval too, and 50,000 images take seconds.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from numclip_lightning.errors import ConfigError

__all__ = ["RESAMPLES", "chunks", "drawn_times", "ends", "resampled_sums", "unit_sums"]

RESAMPLES = 1999
# How many drawn indices are held at a time, 8 bytes each.
_HELD = 500_000

_Numbers = NDArray[np.float64]
_Groups = Sequence[Any] | NDArray[Any] | None


def resampled_sums(
    columns: NDArray[np.float64] | sparse.csr_matrix,
    *,
    groups: _Groups = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> _Numbers:
    """Draw images with replacement, as many as there are, and sum each column over them; again and again.

    With groups, whole groups are drawn, as many as there are. The draws are those of `bootstrap_mean`: a mean is a sum
    divided by that of a column of ones.

    Args:
        columns: The numbers of each image, shape (N, M); sparse where most are 0.
        groups: The group of each image, N of them; None where each image is its own.
        resamples: How often is drawn.
        seed: Of the draws.

    Returns:
        The sums, shape (resamples, M).

    Raises:
        ConfigError: If the groups are of another length, or there are fewer than 2 to draw from.
    """
    sums = unit_sums(columns, groups)
    return np.concatenate([(sums.T @ times.T).T for times in _times(sums.shape[0], resamples, seed)])


def drawn_times(
    images: int, *, groups: _Groups = None, resamples: int = RESAMPLES, seed: int = 0
) -> Iterator[tuple[_Numbers, NDArray[np.int64]]]:
    """Draw as `resampled_sums` does, for what is no function of sums.

    Args:
        images: How many there are, N.
        groups: As of `resampled_sums`.
        resamples: As of `resampled_sums`.
        seed: As of `resampled_sums`.

    Yields:
        How often each image (or group) is in each of some draws, (draws, U), and the place of each image among these
        U, (N,).

    Raises:
        ConfigError: As `resampled_sums`.
    """
    place = _places(images, groups)
    for times in _times(int(place.max(initial=-1)) + 1, resamples, seed):
        yield times, place


def _times(units: int, resamples: int, seed: int) -> Iterator[_Numbers]:
    """Yield how often each unit is in each of some draws, (draws, U)."""
    if units < 2:
        raise ConfigError("there is 1 image, or 1 group of images; an interval needs 2 or more.")
    random = np.random.default_rng(seed)
    for rows in chunks(resamples, units):
        drawn = random.integers(0, units, (rows, units))
        places = (drawn + units * np.arange(rows)[:, None]).ravel()
        yield np.bincount(places, minlength=rows * units).reshape(rows, units).astype(np.float64)


def _places(images: int, groups: _Groups) -> NDArray[np.int64]:
    """Return the place of each image's unit, in the order of their names."""
    if groups is None:
        return np.arange(images)
    if len(groups) != images:
        raise ConfigError(f"groups has {len(groups)} entries for {images} images; give the group of each image.")
    found: NDArray[np.int64] = np.unique(np.asarray(groups), return_inverse=True)[1].ravel()
    return found


def unit_sums(columns: NDArray[np.float64] | sparse.csr_matrix, groups: _Groups) -> Any:
    """Return the columns summed over each group, in the order of their names; the columns themselves without groups.

    Raises:
        ConfigError: If the groups are of another length.
    """
    images = columns.shape[0]
    if groups is None:
        return columns
    place = _places(images, groups)
    units = int(place.max(initial=-1)) + 1
    member = sparse.csr_matrix((np.ones(images), (place, np.arange(images))), shape=(units, images))
    return member @ columns


def ends(drawn: _Numbers, level: float = 0.95) -> tuple[float, float]:
    """Return the percentiles between which a share of the drawn numbers lies; NaN among them is left out.

    Args:
        drawn: Shape (resamples,).
        level: The confidence, between 0 and 1.
    """
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.percentile(finite, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def chunks(resamples: int, units: int) -> Iterator[int]:
    """Split a number of resamples so that each part holds few numbers at a time."""
    most = max(1, _HELD // units)
    for start in range(0, resamples, most):
        yield min(most, resamples - start)
