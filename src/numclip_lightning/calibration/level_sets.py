"""Conformal sets of levels without gaps: the neighbouring phrases among which the true one is.

Two scores, both zero for what the method expects and larger for what it does not:

- `shortest`: the set is the shortest interval of levels whose probability exceeds the threshold, of equally short ones
  the most probable. As such intervals are not nested (a longer one may lie elsewhere), the score of a level is the
  probability of the longest of them that leaves it out; beyond that, every one holds it. So the coverage is at least
  that asked for. The idea is that of min-CPS ("minimal-length conformal sets", arXiv 2511.16845, AAAI 2026).
- `rps`: the ranked probability score `sum_k (F_k - 1[y <= k])^2` of the level, which grows from the median to both
  sides, so that levels below a threshold have no gap (arXiv 2606.24959).
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from numclip_lightning.calibration.checks import Levels, Numbers, probabilities_of

__all__ = ["SEPARATOR", "Sets", "level_sets", "set_scores"]

# Between the phrases of a set in a file; phrases may have commas.
SEPARATOR = "; "

Sets = Literal["shortest", "rps"]


def set_scores(probabilities: ArrayLike, kind: Sets) -> Numbers:
    """Return the score of each level of each image, shape (N, K).

    Args:
        probabilities: Of the levels, shape (N, K).
        kind: Which score.

    Returns:
        For `shortest` 0..1, for `rps` 0..K-1.

    Example:
        >>> set_scores([[0.1, 0.6, 0.3]], "shortest")
        array([[0.9, 0. , 0.6]])
        >>> set_scores([[0.0, 1.0, 0.0]], "rps")
        array([[1., 0., 1.]])
    """
    shares = probabilities_of(probabilities)
    return _shortest_scores(shares) if kind == "shortest" else _rps_scores(shares)


def _rps_scores(shares: Numbers) -> Numbers:
    """Compute `sum_{k < y} F_k^2 + sum_{k >= y} (F_k - 1)^2` for all y in one pass from each side."""
    cumulative = shares.cumsum(axis=1).clip(0, 1)
    above = ((1 - cumulative) ** 2)[:, ::-1].cumsum(axis=1)[:, ::-1]
    below = (cumulative**2).cumsum(axis=1)
    scores = above.copy()
    scores[:, 1:] += below[:, :-1]
    return scores


def _shortest_scores(shares: Numbers) -> Numbers:
    """Give each level the probability of the longest best interval that leaves it out."""
    levels = np.arange(shares.shape[1])
    scores = np.zeros_like(shares)
    for length in range(1, shares.shape[1]):
        start, mass = _best_window(shares, length)
        outside = (levels < start[:, None]) | (levels >= start[:, None] + length)
        # Longer windows are at least as probable, so that the last one that leaves a level out decides.
        scores = np.where(outside, mass[:, None], scores)
    return scores


def _best_window(shares: Numbers, length: int) -> tuple[Levels, Numbers]:
    """Return the start and the probability of each image's most probable interval of so many levels."""
    cumulative = np.concatenate([np.zeros((len(shares), 1)), shares.cumsum(axis=1)], axis=1)
    # Rounded, so that equally probable intervals tie whatever lies before them.
    masses = (cumulative[:, length:] - cumulative[:, :-length]).round(12)
    start = masses.argmax(axis=1)
    return start, masses[np.arange(len(shares)), start]


def level_sets(probabilities: ArrayLike, kind: Sets, threshold: ArrayLike | float) -> tuple[Levels, Levels]:
    """Return the first and the last level of each image's set, int64 of shape (N,).

    Args:
        probabilities: Of the levels, shape (N, K).
        kind: Which score the threshold is of.
        threshold: One for all images, or of each, shape (N,); infinite gives all levels. For `rps` also of each image
            and level, shape (N, K) or (1, K): the set then is the shortest without gaps that holds every level whose
            score is within its own threshold.

    Returns:
        Both ends; a set is never empty: at the least it is the median level (`rps`) or the most probable one.

    Example:
        >>> level_sets([[0.1, 0.6, 0.3], [0.1, 0.6, 0.3]], "shortest", [0.5, 0.8])
        (array([1, 1]), array([1, 2]))
    """
    shares, bound = probabilities_of(probabilities), np.asarray(threshold, dtype=np.float64)
    if bound.ndim < 2 and kind == "shortest":
        return _shortest_sets(shares, np.broadcast_to(bound, len(shares)))
    if bound.ndim < 2:
        bound = np.broadcast_to(bound, len(shares))[:, None]
    inside = set_scores(shares, kind) <= bound
    inside[np.arange(len(shares)), _center(shares, kind)] = True
    last = shares.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)
    return inside.argmax(axis=1).astype(np.int64), last.astype(np.int64)


def _shortest_sets(shares: Numbers, bound: Numbers) -> tuple[Levels, Levels]:
    first, last = np.zeros(len(shares), np.int64), np.full(len(shares), shares.shape[1] - 1)
    open_ = np.ones(len(shares), np.bool_)
    for length in range(1, shares.shape[1]):
        start, mass = _best_window(shares, length)
        found = open_ & (mass > bound)
        first[found], last[found] = start[found], start[found] + length - 1
        open_ &= ~found
    return first, last


def _center(shares: Numbers, kind: Sets) -> Levels:
    """Return the level that a set always holds."""
    if kind == "shortest":
        center: Levels = shares.argmax(axis=1).astype(np.int64)
    else:
        middle = (shares.cumsum(axis=1) < 0.5 - 1e-12).sum(axis=1)
        center = np.minimum(middle, shares.shape[1] - 1).astype(np.int64)
    return center
