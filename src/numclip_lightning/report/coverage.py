"""How many true numbers lie in their intervals, and how wide these are: over all images, by level, by group."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from numclip_lightning.calibration import SEPARATOR
from numclip_lightning.errors import DataError

__all__ = ["coverage_table", "has_intervals"]

# Targets are written with all digits, ends of intervals with those of float32.
_SLACK = 1e-5


def has_intervals(frame: pd.DataFrame) -> bool:
    """Return whether predictions have intervals and targets."""
    return {"target", "lower", "upper"} <= set(frame.columns)


def coverage_table(frame: pd.DataFrame, by: str | None = None, *, fewest: int = 1) -> pd.DataFrame:
    """Count, over all images or in each group, how many intervals hold the true number.

    Args:
        frame: Predictions with targets and intervals: target, lower, upper; with sets also true_phrase and
            phrases_in_set.
        by: A column whose values are the groups, such as `true_phrase` or `attribute_sex`; None takes all images
            together. Levels come in the order of their targets, other groups in that of their names.
        fewest: Groups of fewer images are left out.

    Returns:
        A row for each group: group, n, coverage with its 95 % interval low and high (Wilson; too narrow where images
        are not independent), width (mean of upper less lower, in the unit of the target), set_coverage (share of sets
        with the true phrase) and set_size (mean number of phrases); the last two NaN without sets.

    Raises:
        DataError: If a column is missing.
    """
    needed = ["target", "lower", "upper", *([by] if by else [])]
    if missing := [name for name in needed if name not in frame]:
        raise DataError(f"the predictions have no column {missing[0]}; coverage needs {', '.join(needed)}.")
    slack = _SLACK * frame["target"].abs().clip(lower=1)
    inside = (frame["lower"] - slack <= frame["target"]) & (frame["target"] <= frame["upper"] + slack)
    sets, sizes = _sets(frame)
    facts = pd.DataFrame({
        "group": frame[by].astype("str") if by else "all images",
        "target": frame["target"], "inside": inside, "width": frame["upper"] - frame["lower"],
        "in_set": sets, "size": sizes,
    })  # fmt: skip
    groups = facts.groupby("group", sort=True)
    table = groups.agg(
        n=("inside", "size"), inside=("inside", "sum"), width=("width", "mean"), set_coverage=("in_set", "mean"),
        set_size=("size", "mean"), first=("target", "min"),
    )  # fmt: skip
    table = table[table["n"] >= fewest]
    if by == "true_phrase":
        table = table.sort_values("first", kind="stable")
    ends = [
        binomtest(int(k), int(n)).proportion_ci(method="wilson")
        for k, n in zip(table["inside"], table["n"], strict=True)
    ]
    table = table.assign(
        coverage=table["inside"] / table["n"], low=[end.low for end in ends], high=[end.high for end in ends]
    )
    return table.reset_index()[["group", "n", "coverage", "low", "high", "width", "set_coverage", "set_size"]]


def _sets(frame: pd.DataFrame) -> tuple[Sequence[float], Sequence[float]]:
    """Return, for each image, whether its set has the true phrase, and how many phrases it has; NaN without sets."""
    if not {"true_phrase", "phrases_in_set"} <= set(frame.columns):
        return [np.nan] * len(frame), [np.nan] * len(frame)
    sets = [str(text).split(SEPARATOR) for text in frame["phrases_in_set"]]
    held = [float(phrase in found) for phrase, found in zip(frame["true_phrase"], sets, strict=True)]
    return held, [float(len(found)) for found in sets]
