"""Sections of a report in words: the runs that ran or failed, how to read the tables, the result of the tests."""

import html
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from numclip_lightning.errors import DataError
from numclip_lightning.metrics import Measure, measure_of
from numclip_lightning.report.comparison_tables import comparison_table, interval_table
from numclip_lightning.report.frame import KEY, run_name, shots_name, shots_of
from numclip_lightning.report.images import IMAGE_ASSUMPTIONS, compare_images, image_intervals, image_numbers
from numclip_lightning.report.spreadsheets import write_csv
from numclip_lightning.report.statistics import ASSUMPTIONS, LEVEL
from numclip_lightning.report.tables import MARKDOWN, markdown_grid

__all__ = ["code", "comparison_summary", "how_to_read", "image_sections", "what_ran"]

_STATUS = {"finished": "Finished", "failed": "Failed", "missing": "Not run"}


def what_ran(frame: pd.DataFrame, metrics: Sequence[str], folder: Path) -> list[str]:
    """Count the runs, and name those that failed or ended without a number.

    Args:
        frame: All results, see `results_frame`.
        metrics: The metrics that the report shows.
        folder: The folder of the report, from which run folders are named.
    """
    runs = frame.drop_duplicates(KEY)
    parts = ["## What ran", markdown_grid(_counts(runs)), _versions(runs)]
    failed = runs[runs["status"] == "failed"]
    if len(failed):
        lines = [_line(run, code(run["error"]), folder) for run in failed.to_dict("records")]
        parts += [f"{len(failed)} of {len(runs)} runs failed:", "\n".join(lines)]
    shown = frame[frame["metric"].isin(metrics) & frame["recorded"]]
    endless = shown[~np.isfinite(shown["value"])]
    if len(endless):
        lines = [_line(run, f"{run['metric']} is {run['value']:g}", folder) for run in endless.to_dict("records")]
        parts += ["These finished without a number; they count as not finished below:", "\n".join(lines)]
    return parts


def _counts(runs: pd.DataFrame) -> pd.DataFrame:
    """Count the runs of each dataset by status."""
    counts = pd.crosstab(runs["dataset"], runs["status"])
    counts = counts.reindex(index=runs["dataset"].unique(), columns=list(_STATUS), fill_value=0)
    counts.insert(0, "Planned", counts.sum(axis="columns"))
    counts = counts.rename(index=MARKDOWN.escape, columns=_STATUS)
    if len(counts) > 1:
        counts.loc["All"] = counts.sum()
    return counts.rename_axis(index="Dataset", columns=None).reset_index()


def _versions(runs: pd.DataFrame) -> str:
    """Name the code that made the results; several commits are named as such."""
    commits = sorted(runs["commit"].dropna().unique())
    versions = sorted({f"{name} {number}" for made in runs["versions"] for name, number in made.items()})
    made = f"Commit{'s' if len(commits) > 1 else ''} {', '.join(commits) or 'unknown'}"
    made += f"; {', '.join(versions) or 'versions unknown'}."
    return made + (" The runs were made by different code: compare with care." if len(commits) > 1 else "")


def _line(run: dict[str, object], problem: str, folder: Path) -> str:
    """Return a line with the name of a run, its problem and its folder."""
    where = Path(os.path.relpath(str(run["folder"]), folder)).as_posix()
    return f"- {MARKDOWN.escape(run_name(run))}: {problem} ({code(where)})"


def how_to_read(reference: str | None) -> list[str]:
    """Explain shots, files and, if there is a reference, the tests."""
    shots = (
        "Shots are training images for each value; all images come last. A method that learns nothing has the same "
        "numbers at any number of shots. The tables are also in `tables/`, as CSV (in the unit of the runs) and LaTeX; "
        "every run is in `results.csv` and `results.parquet`."
    )
    tests = [ASSUMPTIONS, IMAGE_ASSUMPTIONS] if reference is not None else []
    return ["## How to read this", shots, *tests]


def comparison_summary(
    tests: pd.DataFrame, measure: Measure, reference: str, *, several_shots: bool, over_images: bool = False
) -> str:
    """Write the result of the tests in a sentence, and the numbers folded away.

    Args:
        tests: See `compare`, or `compare_images`.
        measure: The metric.
        reference: The method that the others are tested against.
        several_shots: Whether the table has several columns, so that a method needs its number of shots.
        over_images: Whether the pairs are test images and not runs.
    """
    if not over_images and (tests["n"] < 2).all():
        name = MARKDOWN.escape(reference)
        return f"No method has two runs to pair with {name}'s, so that nothing is tested over runs."
    found = []
    for verdict in ("better", "worse"):
        names = [
            MARKDOWN.escape(test["method"])
            + (f" ({shots_name(test['shots'])})" if several_shots and not pd.isna(test["shots"]) else "")
            for test in tests[tests["verdict"] == verdict].to_dict("records")
        ]
        found.append(f"{verdict}: {', '.join(names) or 'none'}")
    tested = f"{tests['p_holm'].count()} of {len(tests)} comparisons tested, corrected p < {LEVEL}"
    against = f"Against {MARKDOWN.escape(reference)}{' over the test images' if over_images else ''}"
    summary = f"{against}, {tested}: {'; '.join(found)}."
    # Within HTML there is no Markdown.
    of = " over the test images" if over_images else ""
    details = f"<details><summary>All comparisons{of} (method minus {html.escape(reference)})</summary>"
    table = comparison_table(tests, measure, "Images" if over_images else "Pairs")
    return f"{summary}\n\n{details}\n\n{table}\n\n</details>"


def image_sections(rows: pd.DataFrame, metric: str, reference: str | None, folder: Path, stem: str) -> list[str]:
    """Write the intervals and paired tests over the test images of a dataset, and return them for the page.

    Args:
        rows: The rows of the dataset.
        metric: The metric; there is nothing for one that is no mean over images.
        reference: The method that the others are tested against; None for no tests.
        folder: The folder of the report.
        stem: The beginning of the names of the files.
    """
    try:
        numbers = image_numbers(rows, metric)
    except DataError as error:
        return [f"No statistics over the test images: {code(str(error))}"]
    measure, parts = measure_of(metric), []
    intervals = image_intervals(rows, numbers)
    if len(intervals):
        write_csv(intervals, folder / "tables" / f"{stem}-intervals.csv")
        details = "<details><summary>95 % intervals over the test images</summary>"
        parts.append(f"{details}\n\n{interval_table(intervals, measure)}\n\n</details>")
    if reference in set(rows["method"]) and len(numbers):
        tests = compare_images(rows, metric, str(reference), numbers)
        write_csv(tests, folder / "tables" / f"{stem}-image-tests.csv")
        several = len(shots_of(rows)) > 1
        parts.append(comparison_summary(tests, measure, str(reference), several_shots=several, over_images=True))
    return parts


def code(text: str) -> str:
    """Return text as it is, in Markdown's fence for code; a fence is longer than any backticks inside."""
    fence = "`" * (1 + max((len(ticks) for ticks in re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"
