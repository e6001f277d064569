"""Sections on where the errors are: predicted against true, by the true number and level, levels mixed up."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from numclip_lightning.report.bins import errors_in_parts, value_parts
from numclip_lightning.report.html.elements import Cell, Element, Note, Section, Table, cell, percent, unit_of
from numclip_lightning.report.html.pictures import (
    draw_agreement,
    draw_errors_by_value,
    draw_grid,
    draw_spread_of_values,
)
from numclip_lightning.report.reported import ReportedRun

__all__ = ["agreement_section", "confusion_section", "level_section", "sections_of", "value_section"]

NO_TRUTH = "there are no true numbers (`target`)."
_NO_LEVELS = "there are no levels in words (`true_phrase`, and `most_probable` or `phrase`)."
# A table of more levels is no longer read; it becomes a drawing.
_MOST_CELLS = 12


def sections_of(
    runs: Sequence[ReportedRun], show: Callable[[ReportedRun], list[Element]], reason: Callable[[ReportedRun], str]
) -> tuple[list[tuple[str, list[Element]]], str]:
    """Return what is shown of each run that has the data, a word on those that lack it, and why there is nothing.

    Args:
        runs: The runs.
        show: Makes the elements of a run.
        reason: Why a run has nothing to show; empty if it has.
    """
    reasons = [reason(run) for run in runs]
    if all(reasons):
        return [], reasons[0]
    found: list[tuple[str, list[Element]]] = []
    for run, why in zip(runs, reasons, strict=True):
        found.append((run.name if len(runs) > 1 else "", [Note(f"Nothing to show: {why}")] if why else show(run)))
    return found, ""


def _no_truth(run: ReportedRun) -> str:
    return "" if run.has_truth else NO_TRUTH


def agreement_section(runs: Sequence[ReportedRun]) -> Section:
    """Show predicted against true numbers, or the predicted ones alone."""
    numbers = np.concatenate([run.frame[name] for run in runs for name in ("value", "target") if name in run.frame])
    ends = (float(numbers.min()), float(numbers.max()))

    def show(run: ReportedRun) -> list[Element]:
        values = run.frame["value"].to_numpy("float64")
        if not run.has_truth:
            return [draw_spread_of_values(values, run.unit)]
        return [draw_agreement(run.frame["target"].to_numpy("float64"), values, run.unit, ends)]

    title = "Predicted against true" if any(run.has_truth for run in runs) else "Predicted numbers"
    lead = "A good run lies along the dashed line; a flat cloud answers the same whatever it sees."
    parts, missing = sections_of(runs, show, lambda _: "")
    return Section("agreement", title, lead if title != "Predicted numbers" else "", parts, missing)


def value_section(runs: Sequence[ReportedRun]) -> Section:
    """Show errors by the true number."""
    tables = {id(run): errors_in_parts(run, *value_parts(run)) for run in runs if run.has_truth}
    drawn = [table[["mae", "high", "bias"]] for table in tables.values()]
    ends = (
        min([0.0, *(table.min(axis=None) for table in drawn)]),
        max([0.0, *(table.max(axis=None) for table in drawn)]),
    )

    def show(run: ReportedRun) -> list[Element]:
        table = tables[id(run)]
        return [
            draw_errors_by_value(table, run.unit, ends),
            _table("Errors by the true number", f"True{unit_of(run.unit)}", table, run, folded=True),
        ]

    lead = "Where the true numbers are rare, errors are mostly larger; a bias above 0 reads too high."
    parts, missing = sections_of(runs, show, _no_truth)
    return Section("by-value", "Error by the true number", lead, parts, missing)


def level_section(runs: Sequence[ReportedRun]) -> Section:
    """Show errors by the true level."""

    def show(run: ReportedRun) -> list[Element]:
        assert run.levels is not None
        predicted, true = run.levels
        table = errors_in_parts(run, true, run.phrases)
        right = [float((predicted[true == part] == part).mean()) for part in table["part"]]
        return [_table("Errors by the true level", "True level", table, run, right=right)]

    lead = "The words of the scale, in its order. Right: the share whose most probable phrase is the true one."
    parts, missing = sections_of(runs, show, _no_levels)
    return Section("by-level", "Error by level", lead, parts, missing, wide=len(runs) == 1)


def _no_levels(run: ReportedRun) -> str:
    if not run.has_truth:
        return NO_TRUTH
    return _NO_LEVELS if run.levels is None else ""


def _table(
    caption: str, first: str, table: object, run: ReportedRun, *, right: list[float] | None = None, folded: bool = False
) -> Table:
    unit = unit_of(run.unit)
    columns = [first, "Images", f"Mean absolute error{unit}", f"Bias{unit}", *(["Right (%)"] if right else [])]
    rows = []
    for number, row in enumerate(table.to_dict("records")):  # type: ignore[attr-defined]
        rows.append([
            Cell(row["name"], float(row["part"])),
            Cell(f"{row['images']:,}", row["images"]),
            cell(row["mae"], 2, row["low"], row["high"]),
            cell(row["bias"], 2, row["bias_low"], row["bias_high"]),
            *([cell(right[number], 1, factor=100)] if right else []),
        ])  # fmt: skip
    return Table(caption, columns, rows, folded=folded)


def confusion_section(runs: Sequence[ReportedRun]) -> Section:
    """Show which levels are read as which."""

    def show(run: ReportedRun) -> list[Element]:
        assert run.confusion is not None
        return [_confusion(run.confusion, run.phrases)]

    lead = (
        "Each row is a true level: the share of its images, in %, that were read as each level. On a scale, a miss to "
        "the neighbour is a small one."
    )
    parts, missing = sections_of(runs, show, _no_levels)
    return Section("confusion", "Which levels are mixed up?", lead, parts, missing, wide=len(runs) == 1)


def _confusion(counts: NDArray[np.int64], phrases: list[str]) -> Element:
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    if len(phrases) > _MOST_CELLS:
        near = float(np.trace(counts) / max(counts.sum(), 1))
        alt = f"Confusion of {len(phrases)} levels; {percent(near)} of the images are on the diagonal, at their level."
        return draw_grid(
            shares, phrases, "read as", "true level", alt, "Rows have a sum of 1; the diagonal is right.", (0.0, 1.0)
        )
    rows = [
        [
            Cell(phrase, float(number)),
            *(Cell(f"{100 * share:.0f}", 100 * share, share) for share in shares[number].tolist()),
            Cell(f"{totals[number]:,}", float(totals[number])),
        ]
        for number, phrase in enumerate(phrases)
        if totals[number]
    ]
    return Table("Confusion, % of the row", ["True level", *phrases, "Images"], rows, sortable=False)
