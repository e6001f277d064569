"""Paired tests and intervals as Markdown tables."""

import math
from collections.abc import Callable

import pandas as pd

from numclip_lightning.metrics import Measure
from numclip_lightning.report.frame import shots_name
from numclip_lightning.report.tables import escape_markdown, markdown_grid

__all__ = ["comparison_table", "interval_table"]


def comparison_table(tests: pd.DataFrame, measure: Measure, pairs: str = "Pairs") -> str:
    """Write paired tests in Markdown; differences are in the unit in which the metric is printed.

    Args:
        tests: See `compare`.
        measure: The metric.
        pairs: What was paired, the heading of their number.
    """
    shown = pd.DataFrame(
        {
            "Method": tests["method"].map(escape_markdown),
            "Shots": ["any" if pd.isna(shots) else shots_name(shots) for shots in tests["shots"]],
            pairs: tests["n"],
            "Difference": _texts(tests["difference"], measure.text),
            "95 % interval": _texts(tests["low"], measure.text, " to ") + _texts(tests["high"], measure.text),
            "p": _texts(tests["p"], _p_text),
            "p, corrected": _texts(tests["p_holm"], _p_text),
            "Result": tests["verdict"],
        }
    )
    return markdown_grid(shown)


def interval_table(intervals: pd.DataFrame, measure: Measure) -> str:
    """Write intervals over images in Markdown: a row for each method, a column for each number of shots.

    Args:
        intervals: See `image_intervals`.
        measure: The metric.
    """
    texts = [
        f"{measure.text(cell['mean'])} ({measure.text(cell['low'])} to {measure.text(cell['high'])})"
        for cell in intervals.to_dict("records")
    ]
    grid = intervals.assign(text=texts).pivot(index="method", columns="shots", values="text")
    grid = grid.reindex(index=intervals["method"].unique(), columns=_all_last(intervals["shots"].unique().tolist()))
    shown = grid.fillna("").rename(columns=shots_name, index=escape_markdown)
    return markdown_grid(shown.rename_axis(index="Method", columns=None).reset_index())


def _all_last(shots: list[int]) -> list[int]:
    return sorted(shots, key=lambda number: number or math.inf)


def _texts(numbers: pd.Series, text: Callable[[float], str], after: str = "") -> pd.Series:
    return pd.Series(["" if pd.isna(number) else text(number) + after for number in numbers], dtype="object")


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
