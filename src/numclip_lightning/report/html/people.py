"""The section on groups: for whom the numbers are worse, as they are and at equal targets."""

import math
from collections.abc import Sequence

import numpy as np

from numclip_lightning.report.groups import FEWEST, Gap, GroupTable, Number, compare_groups
from numclip_lightning.report.html.elements import NOTHING, Cell, Element, Note, Section, Table, cell, percent, unit_of
from numclip_lightning.report.html.errors import NO_TRUTH, sections_of
from numclip_lightning.report.reported import ReportedRun

__all__ = ["group_columns", "group_section", "group_words"]


def group_section(runs: Sequence[ReportedRun]) -> Section:
    """Show errors by the values of each attribute."""

    def reason(run: ReportedRun) -> str:
        if not run.attributes:
            return "no attributes are known; name columns of the list in `data.attributes`, or of a CSV with `--by`."
        return "" if run.has_truth else NO_TRUTH

    def show(run: ReportedRun) -> list[Element]:
        found: list[Element] = []
        for attribute in run.attributes:
            table = compare_groups(run, attribute)
            if table.groups:
                columns, rows = group_columns(table, run.unit)
                found.append(Table(f"By {table.attribute}", columns, rows))
            found += map(Note, group_words(table, run.unit))
        drawn = "images, as the file has no column `group`" if run.groups is None else "whole groups (patients)"
        found.append(Note(f"In brackets are 95 % intervals, by a bootstrap that draws {drawn}."))
        return found

    lead = (
        "Groups differ in their true numbers too, and some numbers are harder. At equal targets, every group is "
        "weighed as if its true numbers were spread as those of all groups together. A difference is no cause."
    )
    parts, missing = sections_of(runs, show, reason)
    return Section("groups", "For whom is it worse?", lead, parts, missing, wide=True)


def group_columns(table: GroupTable, unit: str) -> tuple[list[str], list[list[Cell]]]:
    """Return the headings and rows of a comparison of groups."""
    inside = unit_of(unit)
    columns = [table.attribute, "Images", *(["From so many groups"] * table.by_group), f"Mean target{inside}"]
    columns += [f"Mean absolute error{inside}", f"Bias{inside}"]
    equal = table.gap_at_equal is not None or any(group.mae_at_equal for group in table.groups)
    columns += [f"Error at equal targets{inside}", f"Bias at equal targets{inside}"] * equal
    covered = any(group.coverage for group in table.groups)
    columns += ["In the interval (%)", f"Its mean width{inside}"] * covered
    rows = []
    for number, group in enumerate(table.groups):
        row = [Cell(group.name, float(number)), Cell(f"{group.images:,}", group.images)]
        row += [Cell(f"{group.units:,}", group.units)] * table.by_group
        row += [cell(group.target), _cell(group.mae), _cell(group.bias)]
        row += [_cell(group.mae_at_equal), _cell(group.bias_at_equal)] * equal
        row += [_cell(group.coverage, 1, 100), cell(math.nan if group.width is None else group.width)] * covered
        rows.append(row)
    return columns, rows


def _cell(number: Number | None, digits: int = 2, factor: float = 1) -> Cell:
    if number is None:
        return NOTHING
    return cell(number.value, digits, number.low, number.high, factor)


def group_words(table: GroupTable, unit: str) -> list[str]:
    """Return the gap and the worst group in sentences, what was left out, and how the intervals were made."""
    found = []
    if table.gap:
        words = [_gap("As they are", table.gap, unit)]
        if table.gap_at_equal:
            words.append(_gap("At equal targets", table.gap_at_equal, unit))
        found.append(" ".join(words))
    if len(table.groups) > 1 and not table.gap_at_equal:
        found.append("At equal targets there is nothing: no level has 5 images of every group.")
    elif table.gap_at_equal and table.kept < 1:
        found.append(
            f"Equal targets are made over the levels {', '.join(table.levels)}, where every group has 5 images or "
            f"more: {percent(table.kept)} of the images."
        )
    if table.left_out:
        names = ", ".join(f"{name} ({number})" for name, number in table.left_out[:20])
        more = f" and {len(table.left_out) - 20} more" if len(table.left_out) > 20 else ""
        found.append(f"Not shown of {table.attribute}, as they have fewer than {FEWEST} images: {names}{more}.")
    return found


def _gap(how: str, gap: Gap, unit: str) -> str:
    """Write a gap as a sentence."""
    found, unit = gap.difference, f" {unit}" if unit else ""
    text = f"{how}, the error is largest for {gap.worst} and smallest for {gap.best}: a gap of {found.value:.2f}{unit}"
    if not np.isfinite(found.low):
        return f"{text}."
    verdict = "no gap is shown" if found.low <= 0 <= found.high else "more than chance"
    return f"{text} ({found.low:.2f} to {found.high:.2f}; {verdict})."
