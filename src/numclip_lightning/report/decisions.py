"""A decision at a threshold ("18 or older?"): the cut that keeps a chosen recall, and what passes it wrongly."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from numclip_lightning.errors import ConfigError, DataError

__all__ = ["Decision", "choose_cut", "decision_table"]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A rule: an image passes if its number is at least the cut.

    Attributes:
        threshold: What is decided: is the true number at least this?
        recall: The share of images at or above the threshold that shall pass.
        cut: The least predicted number that passes.
        n: How many images at or above the threshold the cut was chosen on.
    """

    threshold: float
    recall: float
    cut: float
    n: int


def choose_cut(value: ArrayLike, target: ArrayLike, threshold: float, recall: float) -> Decision:
    """Return the highest cut that lets at least a share of the images pass that should.

    Args:
        value: Predicted numbers, or any score that grows with the number, of validation images, shape (N,).
        target: Their true numbers, shape (N,).
        threshold: Positive are images with targets of at least this.
        recall: The share of them that shall pass, above 0 and at most 1.

    Raises:
        ConfigError: If the recall is no share.
        DataError: If all images are on one side of the threshold.

    Example:
        >>> choose_cut([10.0, 17.0, 16.0, 25.0, 30.0], [9, 15, 18, 24, 33], 18, 1.0).cut
        16.0
    """
    if not 0 < recall <= 1:
        raise ConfigError(f"recall is {recall}; give a share above 0 and at most 1, such as 0.95.")
    numbers, true = np.asarray(value, dtype=np.float64), np.asarray(target, dtype=np.float64) >= threshold
    if true.all() or not true.any():
        side = "at or above" if true.all() else "below"
        raise DataError(f"all {len(true)} images are {side} {threshold:g}; a decision needs images on both sides.")
    positive = np.sort(numbers[true])[::-1]
    # 0.95 of 20 is 19, also where the product is a rounding above it.
    needed = int(np.ceil(recall * len(positive) - 1e-9))
    return Decision(threshold=threshold, recall=recall, cut=float(positive[needed - 1]), n=len(positive))


def decision_table(value: ArrayLike, target: ArrayLike, decision: Decision) -> pd.DataFrame:
    """Return what a decision does on other images.

    Args:
        value: Numbers as those that the cut was chosen by, shape (N,).
        target: True numbers, shape (N,).
        decision: The rule.

    Returns:
        Rows `recall` (share that passes of the images at or above the threshold) and `false positives` (share that
        passes of those below it): rate, n, share, low and high (95 %, Wilson). A rate of no image is NaN.
    """
    passed = np.asarray(value, dtype=np.float64) >= decision.cut
    true = np.asarray(target, dtype=np.float64) >= decision.threshold
    rows = []
    for name, members in (("recall", true), ("false positives", ~true)):
        n, k = int(members.sum()), int((passed & members).sum())
        ends = binomtest(k, n).proportion_ci(method="wilson") if n else (np.nan, np.nan)
        rows.append({"rate": name, "n": n, "share": k / n if n else np.nan, "low": ends[0], "high": ends[1]})
    return pd.DataFrame(rows)
