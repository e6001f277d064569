"""What the methods of a benchmark were tuned over: a table of errors on validation images, the chosen ones marked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from numclip_lightning.metrics import measure_of
from numclip_lightning.report.frame import run_name, shots_name
from numclip_lightning.report.page import code
from numclip_lightning.report.spreadsheets import write_csv
from numclip_lightning.report.tables import MARKDOWN, markdown_grid

__all__ = ["Tried", "trial_sections"]

_METRIC = "val_mae"


@dataclass(frozen=True)
class Tried:
    """The trials of a benchmark.

    Attributes:
        planned: For each trial dataset, method, fold, shots, seed, trial (its name) and chosen (whether its arguments
            were taken for the runs).
        records: The records of those that have ended, with the same facts.
    """

    planned: Sequence[Mapping[str, Any]] = ()
    records: Sequence[Mapping[str, Any]] = ()


def trial_sections(tried: Tried, folder: Path) -> list[str]:
    """Write the trials as a table, and return its section.

    Args:
        tried: The trials.
        folder: The folder of the report; all numbers are also in its `trials.csv`.
    """
    if not tried.planned:
        return []
    rows = _rows(tried)
    write_csv(rows, folder / "trials.csv")
    seeds = ", ".join(map(str, sorted(rows["seed"].unique())))
    numbers = ", ".join(map(str, sorted(_trials_of(rows).unique())))
    parts = [
        "## Tuning",
        f"Each of these methods had {numbers} sets of arguments to choose from, fitted once with seed {seeds}, which "
        f"no run above has. The one with the lowest {measure_of(_METRIC).title} was taken (bold); test images were not "
        "looked at. The other methods have no such choice.",
        markdown_grid(_grid(rows)),
    ]
    failed = [record for record in tried.records if record["status"] == "failed"]
    if failed:
        lines = [f"- {MARKDOWN.escape(run_name(record))}: {code(str(record['error']))}" for record in failed]
        parts += [f"{len(failed)} of {len(rows)} trials failed:", "\n".join(lines)]
    return parts


def _trials_of(rows: pd.DataFrame) -> "pd.Series[int]":
    """Return how many trials each method had in each place."""
    return rows.groupby(["dataset", "method", "fold", "shots"]).size()


def _rows(tried: Tried) -> pd.DataFrame:
    """Return a row for each trial, with its error; NaN where there is none."""
    names = ["dataset", "method", "fold", "shots", "seed", "trial"]
    errors = {
        tuple(record[name] for name in names): record["metrics"].get(_METRIC, math.nan)
        for record in tried.records
        if record["status"] == "finished"
    }
    rows = pd.DataFrame([{name: entry[name] for name in [*names, "chosen"]} for entry in tried.planned])
    return rows.assign(**{_METRIC: [errors.get(tuple(row), math.nan) for row in rows[names].itertuples(index=False)]})


def _grid(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the table: a row for each method and fold, a column for each dataset and number of shots."""
    grid: dict[str, dict[str, str]] = {}
    several = rows["fold"].nunique() > 1
    for (dataset, method, fold, shots), own in rows.groupby(["dataset", "method", "fold", "shots"], sort=False):
        row = MARKDOWN.escape(str(method)) + (f", fold {fold}" if several else "")
        column = f"{MARKDOWN.escape(str(dataset))}, {shots_name(int(shots))}"
        cells = grid.setdefault(row, {"Tried": " / ".join(map(MARKDOWN.escape, own["trial"]))})
        cells[column] = " / ".join(
            _cell(error, chosen) for error, chosen in zip(own[_METRIC], own["chosen"], strict=True)
        )
    frame = pd.DataFrame.from_dict(grid, orient="index").fillna("")
    return frame.rename_axis(index="Method").reset_index()


def _cell(error: float, chosen: bool) -> str:
    text = measure_of(_METRIC).text(error) if math.isfinite(error) else "none"
    return MARKDOWN.best.format(text) if chosen else text
