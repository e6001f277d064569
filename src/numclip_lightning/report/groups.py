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
from scipy import sparse

from numclip_lightning.report.bins import value_parts
from numclip_lightning.report.predictions import ATTRIBUTE
from numclip_lightning.report.reported import ReportedRun
from numclip_lightning.report.resampling import RESAMPLES, ends, resampled_sums

__all__ = ["FEWEST", "Gap", "GroupResult", "GroupTable", "Number", "compare_groups", "values_of"]

FEWEST = 30
"""Groups of fewer images get no numbers."""

_FEWEST_AT_LEVEL = 5
_FEWEST_UNITS = 5
_MOST_LEVELS = 12
_QUARTERS = 4
_UNKNOWN = "(not given)"

_Numbers = NDArray[np.float64]


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
    cells = _Cells(run, shown, place, level[shown], len(large), len(names))
    drawn = cells.drawn(resamples) if large else None
    results = [_result(cells, drawn, number, name) for number, name in enumerate(large)]
    return GroupTable(
        attribute=attribute.removeprefix(ATTRIBUTE),
        groups=results,
        left_out=left_out,
        gap=_gap(large, cells.whole, drawn, _raw),
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


class _Cells:
    """Sums over the images of each group at each level: their number, absolute errors, errors and covered targets.

    Arrays of sums have the shape (draws, 4, groups, levels).
    """

    def __init__(
        self,
        run: ReportedRun,
        shown: NDArray[np.bool_],
        place: NDArray[np.int64],
        level: NDArray[np.int64],
        groups: int,
        levels: int,
    ) -> None:
        error, frame = run.errors[shown], run.frame[shown]
        self.has_intervals = {"lower", "upper"} <= set(frame.columns)
        inside = self.width = np.ones(len(frame))
        if self.has_intervals:
            self.width = (frame["upper"] - frame["lower"]).to_numpy("float64")
            inside = frame["target"].between(frame["lower"], frame["upper"]).to_numpy("float64")
        numbers = np.stack([np.ones(len(frame)), np.abs(error), error, inside])
        self.shape = (4, groups, levels)
        cell = place * levels + level
        columns = (np.arange(4)[:, None] * groups * levels + cell).ravel()
        rows = np.tile(np.arange(len(frame)), 4)
        self.table = sparse.csr_matrix((numbers.ravel(), (rows, columns)), shape=(len(frame), 4 * groups * levels))
        self.units_of = None if run.groups is None else run.groups[shown]
        self.place, self.target = place, frame["target"].to_numpy("float64")
        self.whole = np.asarray(self.table.sum(axis=0)).reshape(1, *self.shape)
        images = self.whole[0, 0]
        self.common = (images >= _FEWEST_AT_LEVEL).all(axis=0) if groups else np.zeros(levels, bool)
        # The shares of the levels in all groups together, which every group is given.
        self.weights = np.where(self.common, images.sum(axis=0), 0.0)
        self.kept = float(self.weights.sum() / max(images.sum(), 1))

    def drawn(self, resamples: int) -> _Numbers | None:
        """Return the sums of each draw; None if there is nothing to draw from."""
        if len(self.place if self.units_of is None else np.unique(self.units_of)) < _FEWEST_UNITS:
            return None
        sums = resampled_sums(self.table, groups=self.units_of, resamples=resamples)
        return np.asarray(sums).reshape(-1, *self.shape)

    def units(self, number: int) -> int:
        """Return how many units a group has."""
        return int(
            (self.place == number).sum()
            if self.units_of is None
            else len(np.unique(self.units_of[self.place == number]))
        )

    def at_equal(self, sums: _Numbers, kind: int) -> _Numbers:
        """Return the mean of each group at equal targets, (draws, groups).

        A draw without images of a group at a level takes the others: their weights are divided by their own sum.
        """
        images = sums[:, 0][:, :, self.common]
        weights = np.where(images > 0, self.weights[self.common], 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            means = np.where(images > 0, sums[:, kind][:, :, self.common] / images, 0.0)
            found: _Numbers = (weights * means).sum(axis=2) / weights.sum(axis=2)
        return found


_ABSOLUTE, _SIGNED, _COVERED = 1, 2, 3


def _raw(sums: _Numbers, kind: int) -> _Numbers:
    """Return the mean of each group as it is, (draws, groups)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: _Numbers = sums[:, kind].sum(axis=2) / sums[:, 0].sum(axis=2)
    return found


def _result(cells: _Cells, drawn: _Numbers | None, number: int, name: str) -> GroupResult:
    units = cells.units(number)
    # Of fewer patients, percentiles would say more than is known.
    usable = drawn if units >= _FEWEST_UNITS else None

    def number_of(kind: int, mean: object = _raw) -> Number:
        value = float(mean(cells.whole, kind)[0, number])  # type: ignore[operator]
        if usable is None:
            return Number(value=value, low=float("nan"), high=float("nan"))
        low, high = ends(mean(usable, kind)[:, number])  # type: ignore[operator]
        return Number(value=value, low=low, high=high)

    equal = cells.common.any()
    return GroupResult(
        name=name,
        images=int((cells.place == number).sum()),
        units=units,
        target=float(cells.target[cells.place == number].mean()),
        mae=number_of(_ABSOLUTE),
        bias=number_of(_SIGNED),
        mae_at_equal=number_of(_ABSOLUTE, cells.at_equal) if equal else None,
        bias_at_equal=number_of(_SIGNED, cells.at_equal) if equal else None,
        coverage=number_of(_COVERED) if cells.has_intervals else None,
        width=float(cells.width[cells.place == number].mean()) if cells.has_intervals else None,
    )


def _gap(names: Sequence[str], whole: _Numbers, drawn: _Numbers | None, mean: object) -> Gap | None:
    if len(names) < 2:
        return None
    errors = mean(whole, _ABSOLUTE)[0]  # type: ignore[operator]
    worst, best = int(np.nanargmax(errors)), int(np.nanargmin(errors))
    value = float(errors[worst] - errors[best])
    low = high = float("nan")
    if drawn is not None:
        draws = mean(drawn, _ABSOLUTE)  # type: ignore[operator]
        pairs = len(list(combinations(names, 2)))
        low, high = ends(draws[:, worst] - draws[:, best], 1 - 0.05 / pairs)
    return Gap(worst=names[worst], best=names[best], difference=Number(value=value, low=low, high=high))
