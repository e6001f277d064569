"""The first sections: how good the numbers are beside guessing, and which run is better on the same images."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from numclip_lightning.report.html.elements import NOTHING, Cell, Element, Note, Section, Table, cell, percent
from numclip_lightning.report.intervals import bootstrap_difference, sign_flip_test
from numclip_lightning.report.reported import ReportedRun
from numclip_lightning.report.resampling import RESAMPLES
from numclip_lightning.report.statistics import holm, verdict_of
from numclip_lightning.report.summary import Guessed, Measured, guessed, measure_run, tolerance_of

__all__ = ["comparison_section", "summary_section"]

_IN_UNIT = ("mae", "rmse", "bias")


def summary_section(runs: Sequence[ReportedRun]) -> Section:
    """Show the metrics of the runs side by side, with intervals, and what guessing costs."""
    known = [run for run in runs if run.has_truth]
    lead = (
        "Each number is over all images of the file. In brackets, where it would lie in 95 of 100 cases, had other "
        "images of the same kind been drawn."
    )
    if not known:
        return Section("numbers", "How good are the numbers?", lead, missing="there are no true numbers (`target`).")
    measured = {id(run): {found.key: found for found in measure_run(run)} for run in known}
    keys = list(dict.fromkeys(key for found in measured.values() for key in found))
    guesses = {id(run): guessed(run) for run in known}
    columns = ["Metric", *(run.name for run in known)]
    columns += ["Guessing"] if len(known) == 1 else [f"Guessing, {run.name}" for run in known]
    columns.append("Better is")
    rows = []
    for key in keys:
        first = next(found[key] for found in measured.values() if key in found)
        shown = [_cell(measured[id(run)].get(key)) for run in known]
        costs = [guesses[id(run)].costs.get(key) for run in known]
        guess = [Cell("", float("nan")) if cost is None else Cell(first.measure.text(cost), cost) for cost in costs]
        rows.append([Cell(_title(first, known)), *shown, *guess, Cell(first.measure.direction)])
    parts: list[Element] = [Note(_headline(run, measured[id(run)]["mae"], guesses[id(run)].costs)) for run in known]
    parts += [Table("All metrics", columns, rows, sortable=False), *map(Note, _notes(known, guesses))]
    return Section("numbers", "How good are the numbers?", lead, (("", parts),), wide=True)


def _cell(found: Measured | None) -> Cell:
    if found is None or not np.isfinite(found.value):
        return NOTHING
    text = found.measure.text(found.value)
    if np.isfinite(found.low):
        text += f" ({found.measure.text(found.low)} to {found.measure.text(found.high)})"
    return Cell(text, found.value)


def _title(found: Measured, runs: Sequence[ReportedRun]) -> str:
    unit = next((run.unit for run in runs if run.unit), "")
    title = found.measure.title
    if found.key.startswith("cs") and found.key not in _IN_UNIT:
        return f"Off by at most {tolerance_of(runs[0]):g}{' ' + unit if unit else ''} (cumulative score, %)"
    return f"{title}, {unit}" if unit and found.key in _IN_UNIT else title


def _headline(run: ReportedRun, mae: Measured, costs: Mapping[str, float]) -> str:
    """Say the error in a sentence, beside what guessing costs."""
    unit = f" {run.unit}" if run.unit else ""
    guess = costs.get("mae")
    text = f"{run.name} is off by {mae.measure.text(mae.value)}{unit} on average, over {len(run.frame):,} images"
    if np.isfinite(mae.low):
        text += f" (95 % interval {mae.measure.text(mae.low)} to {mae.measure.text(mae.high)})"
    if not guess:
        return text + "."
    less = 1 - mae.value / guess
    verdict = f"{percent(less)} less" if less > 0 else "no better"
    return f"{text}. Always answering the same number costs {mae.measure.text(guess)}{unit}: this is {verdict}."


def _notes(runs: Sequence[ReportedRun], guesses: Mapping[int, Guessed]) -> list[str]:
    found = []
    for run in runs:
        name = f"{run.name}: " if len(runs) > 1 else ""
        groups = None if run.groups is None else len(np.unique(run.groups))
        drawn = "images" if groups is None else f"whole groups ({groups:,} of them, column `group`)"
        own = "" if groups is not None else "; images that belong together (of one patient) would need a column `group`"
        units = len(run.frame) if groups is None else groups
        how = f"Intervals are percentiles of {RESAMPLES:,} bootstrap draws of {drawn}{own}."
        if units < 2:
            how = (
                "There are no intervals, as all images are of one group (column `group`)."
                if groups
                else "One image has no intervals."
            )
        found.append(f"{name}n = {len(run.frame):,} images. {how} Guessing answers {guesses[id(run)].source}.")
        if run.unusable:
            found.append(f"{name}{run.unusable:,} rows have no finite number and are left out of everything here.")
        if run.metrics.get("select_on") == "test" or "test" in set(run.frame.get("select_on", ())):
            found.append(
                f"{name}the checkpoint was selected on the test images: its numbers are better than they will be on "
                "others."
            )
    return found


def comparison_section(runs: Sequence[ReportedRun]) -> Section:
    """Test each run against the first on the images that both have read."""
    title = "Which run is better on the same images?"
    lead = (
        f"Each run against the first, {runs[0].name}, image by image: what makes an image hard for both cancels. "
        "A difference below 0 is less error than the first."
    )
    known = [run for run in runs if run.has_truth]
    if len(known) < 2 or not runs[0].has_truth:
        return Section("compared", title, lead, missing="the runs have no true numbers (`target`).")
    tests = [_test(run, known[0]) for run in known[1:]]
    tested = [test["p"] for test in tests if test["n"] >= 2]
    corrected = iter(holm(tested))
    rows = []
    for run, test in zip(known[1:], tests, strict=True):
        test["p_holm"] = next(corrected) if test["n"] >= 2 else float("nan")
        rows.append([
            Cell(run.name),
            Cell(f"{test['n']:,}", test["n"]),
            cell(test["difference"], 3, test["low"], test["high"]),
            cell(test["p"], 4),
            cell(test["p_holm"], 4),
            Cell(verdict_of(test, lower_is_better=True)),
        ])  # fmt: skip
    unit = f" ({known[0].unit})" if known[0].unit else ""
    columns = ["Run", "Images of both", f"Difference of the absolute error{unit}", "p", "p, corrected", "Result"]
    note = (
        "Intervals by a paired bootstrap, p by flipping the signs of the differences at random, of whole groups where "
        "the files have them; corrected after Holm. This says whether these trained models differ on such images, not "
        "whether another seed would show the same."
    )
    return Section(
        "compared", title, lead, (("", [Table("Paired differences", columns, rows), Note(note)]),), wide=True
    )


def _test(ours: ReportedRun, theirs: ReportedRun) -> dict[Hashable, Any]:
    """Compare the absolute errors of two runs on the images that both have with the same target."""
    tables = []
    for run in (ours, theirs):
        table = pd.DataFrame({"path": run.frame["path"], "target": run.frame["target"], "error": np.abs(run.errors)})
        # A list may have an image twice.
        table["place"] = table.groupby("path").cumcount()
        table["group"] = None if run.groups is None else run.groups
        tables.append(table)
    pairs = tables[0].merge(tables[1], on=["path", "place", "target"], suffixes=("", "_theirs"))
    groups = None if pairs["group"].isna().any() else pairs["group"].to_numpy()
    n = len(pairs)
    nan = float("nan")
    if n < 2 or (groups is not None and len(np.unique(groups)) < 2):
        return {"n": min(n, 1), "difference": nan, "low": nan, "high": nan, "p": nan}
    one, other = pairs["error"].to_numpy(), pairs["error_theirs"].to_numpy()
    found = bootstrap_difference(one, other, groups=groups, resamples=RESAMPLES)
    p = sign_flip_test(one, other, groups=groups, resamples=RESAMPLES)
    return {"n": n, "difference": found.mean, "low": found.low, "high": found.high, "p": p}
