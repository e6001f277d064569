"""Sections on how sure a single number is: intervals and their coverage, and the predicted distribution."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from numclip_lightning.calibration import LevelValues, level_spread, read_calibration
from numclip_lightning.calibration.quantiles import quantile_columns, quantiles_in
from numclip_lightning.report.coverage import coverage_table, has_intervals
from numclip_lightning.report.html.elements import Cell, Element, Note, Section, Table, cell, unit_of
from numclip_lightning.report.html.errors import NO_TRUTH, sections_of
from numclip_lightning.report.html.pictures import draw_pit, draw_selective
from numclip_lightning.report.reliability import central_coverage, pit_histogram, selective_error, temperature_effect
from numclip_lightning.report.reported import ReportedRun

__all__ = ["coverage_section", "distribution_section", "selective_section"]


def coverage_section(runs: Sequence[ReportedRun]) -> Section:
    """Show how many true numbers lie in their intervals, over all images and by level."""

    def reason(run: ReportedRun) -> str:
        if not run.has_truth:
            return NO_TRUTH
        return "" if has_intervals(run.frame) else "there are no intervals (columns `lower` and `upper`)."

    def show(run: ReportedRun) -> list[Element]:
        calibration = read_calibration(run.folder) if run.folder else None
        tables = [coverage_table(run.frame)]
        if "true_phrase" in run.frame and run.phrases:
            tables.append(coverage_table(run.frame, "true_phrase").set_index("group"))
            tables[1] = tables[1].reindex([name for name in run.phrases if name in tables[1].index]).reset_index()
        found: list[Element] = [_coverage(pd.concat(tables, ignore_index=True), run)]
        if calibration:
            found.append(
                Note(
                    f"The intervals aim at {100 * calibration.choices.coverage:g} % and were calibrated on "
                    f"{calibration.n:,} validation images ({calibration.choices.intervals}). That share is promised "
                    "over all images, not at each level."
                )
            )
            found += map(Note, calibration.notes)
        return found

    lead = "Every image has an interval: how often is the true number inside, and how wide must it be for that?"
    parts, missing = sections_of(runs, show, reason)
    return Section("coverage", "Do the intervals hold?", lead, parts, missing, wide=len(runs) == 1)


def _coverage(table: pd.DataFrame, run: ReportedRun) -> Table:
    sets = bool(table["set_coverage"].notna().any())
    columns = ["True level", "Images", "In the interval (%)", f"Mean width{unit_of(run.unit)}"]
    columns += ["In the set of levels (%)", "Levels in the set"] * sets
    rows = []
    for number, row in enumerate(table.to_dict("records")):
        cells = [Cell(str(row["group"]), float(number)), Cell(f"{row['n']:,}", row["n"])]
        cells += [cell(row["coverage"], 1, row["low"], row["high"], 100), cell(row["width"])]
        rows.append([*cells, *([cell(row["set_coverage"], 1, factor=100), cell(row["set_size"])] if sets else [])])
    return Table("Coverage", columns, rows)


def _values(run: ReportedRun) -> LevelValues | None:
    return LevelValues.of(run.scale) if run.scale and run.scale.phrases == run.phrases else None


def _no_distribution(run: ReportedRun) -> str:
    if not run.has_truth:
        return NO_TRUTH
    if run.probabilities is None:
        return "there are no probabilities of levels (columns `p(...)`)."
    if _values(run) is None:
        return "the scale is not known, which says which numbers a level has (`config.yaml` of a run folder)."
    return "" if run.has_distributions else "the probabilities have no sum of 1."


def distribution_section(runs: Sequence[ReportedRun]) -> Section:
    """Show where true numbers lie in their predicted distributions."""

    def show(run: ReportedRun) -> list[Element]:
        values, target = _values(run), run.frame["target"]
        assert values is not None
        assert run.probabilities is not None
        shares = run.probabilities / run.probabilities.sum(axis=1, keepdims=True)
        kept = quantile_columns(run.frame.columns)
        quantiles = quantiles_in(run.frame[list(kept)].to_numpy("float64"), list(kept.values()))
        central = central_coverage(shares, values, target, quantiles=quantiles)
        rows = [
            [cell(row["nominal"], 0, factor=100), cell(row["coverage"], 1, factor=100)]
            for row in central.to_dict("records")
        ]
        found: list[Element] = [
            draw_pit(pit_histogram(shares, values, target, quantiles=quantiles)),
            Table(
                "True numbers in the middle of the distribution", ["The middle (%)", "Holds (%)"], rows, sortable=False
            ),
        ]
        calibration = read_calibration(run.folder) if run.folder else None
        if calibration and calibration.temperature:
            found.append(_temperature(temperature_effect(shares, values, target, calibration.temperature), run))
        return found

    lead = "A flat picture: true numbers lie anywhere in their distributions, as they should. High ends: too sure."
    parts, missing = sections_of(runs, show, _no_distribution)
    return Section("distribution", "Does the distribution fit?", lead, parts, missing)


def _temperature(table: pd.DataFrame, run: ReportedRun) -> Table:
    columns = [
        "Temperature",
        "NLL",
        "RPS",
        "ECE (%)",
        f"Error of the expectation{unit_of(run.unit)}",
        "Middle 90 % (%)",
    ]
    rows = [
        [
            cell(row["temperature"], 3), cell(row["nll"], 3), cell(row["rps"], 3), cell(row["ece"], 1, factor=100),
            cell(row["mae"]), cell(row["central_90"], 1, factor=100),
        ]
        for row in table.to_dict("records")
    ]  # fmt: skip
    return Table("What the temperature of the validation images would change here", columns, rows, sortable=False)


def selective_section(runs: Sequence[ReportedRun]) -> Section:
    """Show the error of the surest images."""

    def spread_of(run: ReportedRun) -> tuple[np.ndarray, str] | None:
        for needed, name in ((("spread",), "spread"), (("lower", "upper"), "width of the interval")):
            if set(needed) <= set(run.frame.columns):
                spread = run.frame["spread"] if name == "spread" else run.frame["upper"] - run.frame["lower"]
                if spread.notna().all() and spread.nunique() > 1:
                    return spread.to_numpy("float64"), name
        values = _values(run)
        if run.probabilities is None or values is None:
            return None
        return level_spread(run.probabilities, values), "spread of the levels"

    def reason(run: ReportedRun) -> str:
        if not run.has_truth:
            return NO_TRUTH
        if spread_of(run) is None:
            return "nothing says how sure each number is (`spread`, `lower` and `upper`, or `p(...)` with the scale)."
        return ""

    def show(run: ReportedRun) -> list[Element]:
        known = spread_of(run)
        assert known is not None
        table = selective_error(run.frame["value"], run.frame["target"], known[0])
        half = table[table["share"] == 0.5].iloc[0]
        note = (
            f"By the {known[1]}: the surer half ({int(half['n']):,} images) is off by {half['mae']:.2f}"
            f"{' ' + run.unit if run.unit else ''} on average, all by {table['mae'].iloc[-1]:.2f}."
        )
        return [draw_selective(table, run.unit), Note(note)]

    lead = "If the unsure images went to a person, how good would the rest be? The curve should rise to the right."
    parts, missing = sections_of(runs, show, reason)
    return Section("surest", "Are the sure ones better?", lead, parts, missing)
