"""For whom is it worse: errors by the values of an attribute, as they are and at equal targets.

Targets differ between groups (the women of a list may be younger), and errors differ by target. So each group is also
read at equal targets, by direct standardisation: its mean error at each level, weighted by the shares of the levels in
all groups together. Source: Fleiss, Levin and Paik, "Statistical methods for rates and proportions", 2003, chapter 19;
groups of images by attribute as in Sourget et al., "Fairness and robustness of CLIP-based models for chest X-rays",
2025.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from numclip_lightning.report.bins import value_parts
from numclip_lightning.report.group_sums import (
    ABSOLUTE,
    COVERED,
    FEWEST_UNITS,
    SIGNED,
    GroupSums,
    Mean,
    Numbers,
    raw_mean,
)
from numclip_lightning.report.predictions import ATTRIBUTE
from numclip_lightning.report.reported import ReportedRun
from numclip_lightning.report.resampling import RESAMPLES, ends

__all__ = ["FEWEST", "Gap", "GroupResult", "GroupTable", "Number", "compare_groups", "values_of"]

FEWEST = 30
"""Groups of fewer images get no numbers."""

_MOST_LEVELS = 12
_QUARTERS = 4
_UNKNOWN = "(not given)"


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number and the ends of its 95 % interval, NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class GroupResult:
    """The images with one value of an attribute.

    Attributes:
        name: The value.
        images: How many there are.
        units: How many groups (patients) these are of; the number of images where the file has no groups.
        target: The mean of their targets.
        mae: Mean absolute error.
        bias: Mean of value minus target.
        mae_at_equal: The mean absolute error at equal targets; None where no level is common.
        bias_at_equal: The bias at equal targets; None likewise.
        coverage: Share of targets within the predicted intervals, 0..1; None without intervals.
        width: The mean width of these intervals; None without them.
    """

    name: str
    images: int
    units: int
    target: float
    mae: Number
    bias: Number
    mae_at_equal: Number | None
    bias_at_equal: Number | None
    coverage: Number | None
    width: float | None


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The largest difference of mean absolute error between two groups.

    Attributes:
        worst: The group with the largest error.
        best: The group with the smallest.
        difference: Worst minus best, with an interval that is widened for the choice among all pairs (Bonferroni).
    """

    worst: str
    best: str
    difference: Number


@dataclass(frozen=True, kw_only=True)
class GroupTable:
    """What an attribute shows.

    Attributes:
        attribute: Its name.
        groups: A result for each value with enough images.
        left_out: The values with fewer than `FEWEST` images, and their numbers.
        gap: The raw gap; None with fewer than two groups.
        gap_at_equal: The gap at equal targets; None likewise, or where no level is common.
        levels: The levels at which every group has images, by which targets are made equal.
        kept: The share of the images that are at these levels, 0..1.
        by_group: Whether intervals draw groups (patients) and not images.
    """

    attribute: str
    groups: Sequence[GroupResult]
    left_out: Sequence[tuple[str, int]]
    gap: Gap | None
    gap_at_equal: Gap | None
    levels: Sequence[str]
    kept: float
    by_group: bool


def compare_groups(run: ReportedRun, attribute: str, *, resamples: int = RESAMPLES) -> GroupTable:
    """Compare the values of an attribute.

    Args:
        run: With true numbers.
        attribute: The column, such as `attribute_sex`. Many different numbers are cut at their quartiles.
        resamples: How often images (or groups) are drawn for the intervals.

    Returns:
        The comparison. Intervals are percentiles of a bootstrap over all images of the groups shown, so that a group
        of patients that is in two of them stays whole.
    """
    words = values_of(run.frame[attribute])
    counts = words.value_counts()
    large = [name for name in _in_order(words) if counts[name] >= FEWEST]
    left_out = [(name, int(counts[name])) for name in _in_order(words) if counts[name] < FEWEST]
    shown = words.isin(large).to_numpy()
    place = pd.Index(large).get_indexer(words)[shown]
    level, names = _levels(run)
    cells = GroupSums(run, shown, place, level[shown], len(large), len(names))
    drawn = cells.drawn(resamples) if large else None
    results = [_result(cells, drawn, number, name) for number, name in enumerate(large)]
    return GroupTable(
        attribute=attribute.removeprefix(ATTRIBUTE),
        groups=results,
        left_out=left_out,
        gap=_gap(large, cells.whole, drawn, raw_mean),
        gap_at_equal=_gap(large, cells.whole, drawn, cells.at_equal) if cells.common.any() else None,
        levels=[name for name, kept in zip(names, cells.common, strict=True) if kept],
        kept=cells.kept,
        by_group=run.groups is not None,
    )


def values_of(column: pd.Series) -> pd.Series:
    """Return the values of an attribute as words; many different numbers as the quarters that they are in."""
    words = column.map(lambda value: f"{value:g}" if isinstance(value, float) else str(value)).str.strip()
    known = ~words.isin(["", "nan", "None"])
    numbers = pd.to_numeric(words.where(known), errors="coerce")
    if words[known].nunique() > _MOST_LEVELS and numbers[known].notna().all():
        edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, _QUARTERS + 1)))
        parts = pd.cut(numbers, edges, include_lowest=True, labels=[f"{a:.4g} to {b:.4g}" for a, b in pairwise(edges)])
        words = parts.astype("str")
    return words.where(known, _UNKNOWN)


def _in_order(words: pd.Series) -> list[str]:
    """Return the values in the order of their numbers, or of the alphabet; what was not given is last."""

    def key(word: str) -> tuple[bool, float, str]:
        first = word.split(" to ")[0]
        try:
            return word == _UNKNOWN, float(first), word
        except ValueError:
            return word == _UNKNOWN, float("inf"), word

    return sorted(words.unique(), key=key)


def _levels(run: ReportedRun) -> tuple[NDArray[np.int64], list[str]]:
    """Return the true level of each image and their names: those of the scale, or bins if it has too many or none."""
    if run.levels is not None and (run.levels[1] >= 0).all() and len(run.phrases) <= _MOST_LEVELS:
        return run.levels[1], run.phrases
    return value_parts(run)


def _result(cells: GroupSums, drawn: Numbers | None, number: int, name: str) -> GroupResult:
    units = cells.units(number)
    # Of fewer patients, percentiles would say more than is known.
    usable = drawn if units >= FEWEST_UNITS else None

    def number_of(kind: int, mean: Mean = raw_mean) -> Number:
        value = float(mean(cells.whole, kind)[0, number])
        if usable is None:
            return Number(value=value, low=float("nan"), high=float("nan"))
        low, high = ends(mean(usable, kind)[:, number])
        return Number(value=value, low=low, high=high)

    equal = cells.common.any()
    return GroupResult(
        name=name,
        images=int((cells.place == number).sum()),
        units=units,
        target=float(cells.target[cells.place == number].mean()),
        mae=number_of(ABSOLUTE),
        bias=number_of(SIGNED),
        mae_at_equal=number_of(ABSOLUTE, cells.at_equal) if equal else None,
        bias_at_equal=number_of(SIGNED, cells.at_equal) if equal else None,
        coverage=number_of(COVERED) if cells.has_intervals else None,
        width=float(cells.width[cells.place == number].mean()) if cells.has_intervals else None,
    )


def _gap(names: Sequence[str], whole: Numbers, drawn: Numbers | None, mean: Mean) -> Gap | None:
    if len(names) < 2:
        return None
    errors = mean(whole, ABSOLUTE)[0]
    worst, best = int(np.nanargmax(errors)), int(np.nanargmin(errors))
    value = float(errors[worst] - errors[best])
    low = high = float("nan")
    if drawn is not None:
        draws = mean(drawn, ABSOLUTE)
        pairs = len(list(combinations(names, 2)))
        low, high = ends(draws[:, worst] - draws[:, best], 1 - 0.05 / pairs)
    return Gap(worst=names[worst], best=names[best], difference=Number(value=value, low=low, high=high))
