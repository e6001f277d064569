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

__all__ = ["RESAMPLES", "chunks", "ends", "resampled_sums", "unit_sums"]

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
    units = sums.shape[0]
    if units < 2:
        raise ConfigError("there is 1 image, or 1 group of images; an interval needs 2 or more.")
    random = np.random.default_rng(seed)
    found = []
    for rows in chunks(resamples, units):
        drawn = random.integers(0, units, (rows, units))
        places = (drawn + units * np.arange(rows)[:, None]).ravel()
        times = np.bincount(places, minlength=rows * units).reshape(rows, units).astype(np.float64)
        found.append((sums.T @ times.T).T)
    return np.concatenate(found)


def unit_sums(columns: NDArray[np.float64] | sparse.csr_matrix, groups: _Groups) -> Any:
    """Return the columns summed over each group, in the order of their names; the columns themselves without groups.

    Raises:
        ConfigError: If the groups are of another length.
    """
    images = columns.shape[0]
    if groups is None:
        return columns
    if len(groups) != images:
        raise ConfigError(f"groups has {len(groups)} entries for {images} images; give the group of each image.")
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    member = sparse.csr_matrix((np.ones(images), (place.ravel(), np.arange(images))), shape=(len(names), images))
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
