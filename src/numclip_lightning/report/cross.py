"""What was trained on one dataset and tested on other images: tables of its own, from the files of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from numclip_lightning.errors import DataError
from numclip_lightning.metrics import measure_of
from numclip_lightning.report.cells import cells_of, save_table
from numclip_lightning.report.counts import TrainingCounts, read_counts
from numclip_lightning.report.files import with_metrics_of_files
from numclip_lightning.report.frame import COLUMNS, KEY, at_every_shots, results_frame, run_name, shots_name, shots_of
from numclip_lightning.report.guessing import GUESSES
from numclip_lightning.report.page import code
from numclip_lightning.report.predictions import read_predictions
from numclip_lightning.report.spreadsheets import write_csv
from numclip_lightning.report.tables import MARKDOWN

__all__ = ["Crossed", "cross_sections"]


@dataclass(frozen=True)
class Crossed:
    """The tests of a benchmark's runs on other images.

    Attributes:
        planned: As for `results_frame`, with `tested_on`, the name of the images.
        records: The records of those that have ended, with `tested_on`. Their folders are two below that of their run.
    """

    planned: Sequence[Mapping[str, Any]] = ()
    records: Sequence[Mapping[str, Any]] = ()


def cross_sections(
    frame: pd.DataFrame, crossed: Crossed, metrics: Sequence[str], folder: Path, stems: Mapping[str, str]
) -> list[str]:
    """Write the tables "trained on X, tested on Y" of the largest number of shots, and return their sections.

    Args:
        frame: All results on the datasets' own images, see `results_frame`.
        crossed: The tests.
        metrics: The metrics of the report; those of validation images are left out.
        folder: The folder of the report. All numbers are also in its `tested-elsewhere.csv`.
        stems: The beginning of the names of the files, by dataset.
    """
    if not crossed.planned:
        return []
    parts = ["## Tested on other images"]
    if not crossed.records:
        return [*parts, "Not run yet."]
    metrics = [metric for metric in metrics if metric.startswith("test_")]
    records = with_metrics_of_files(crossed.records, metrics)
    failed = [record for record in records if record["status"] == "failed"]
    if failed:
        lines = [f"- {MARKDOWN.escape(run_name(record))}: {code(str(record['error']))}" for record in failed]
        parts += [f"{len(failed)} of {len(crossed.planned)} tests failed:", "\n".join(lines)]
    found = {name: _results(crossed.planned, records, name, metrics) for name in _names(crossed.planned)}
    whole = pd.concat([rows.assign(tested_on=name) for name, rows in found.items()])
    write_csv(whole[["tested_on", *COLUMNS]], folder / "tested-elsewhere.csv")
    for dataset in dict.fromkeys(entry["dataset"] for entry in crossed.planned):
        own = frame[frame["dataset"] == dataset]
        others = {name: rows[rows["dataset"] == dataset] for name, rows in found.items()}
        tested = {str(dataset): own, **{name: rows for name, rows in others.items() if len(rows)}}
        shots = shots_of(own)[-1]
        parts.append(f"### Trained on {MARKDOWN.escape(str(dataset))} ({shots_name(shots)})")
        parts += [_table(tested, shots, metric, folder, stems[dataset]) for metric in metrics]
    return parts


def _names(planned: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(entry["tested_on"]) for entry in planned))


def _results(
    planned: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]], name: str, metrics: Sequence[str]
) -> pd.DataFrame:
    """Return the results of the tests on some images, as of datasets; none if none of them has ended."""
    here, ended = ([entry for entry in entries if entry["tested_on"] == name] for entries in (planned, records))
    if not ended:
        return pd.DataFrame(columns=[*COLUMNS, "folder"])
    return results_frame(here, ended, metrics)


def _table(tested: Mapping[str, pd.DataFrame], shots: int, metric: str, folder: Path, stem: str) -> str:
    """Write the table of a metric: a row for each method, a column for each list that it was tested on."""
    measure, numbers = measure_of(metric), []
    for place, (name, rows) in enumerate(tested.items()):
        spread = at_every_shots(rows).astype({"method": "object", "shots": "int64"})
        chosen = spread[(spread["shots"] == shots) & (spread["metric"] == metric)]
        numbers.append(chosen[["method", "value", "select_on"]].assign(column=place))
        own = name == next(iter(tested))
        runs = spread[(spread["shots"] == shots) & (spread["status"] == "finished")].drop_duplicates(KEY)
        guesses = _guesses(runs, metric, own=own)
        key = metric.removeprefix("test_")
        numbers.append(
            pd.DataFrame({"method": GUESSES.get(key), "value": guesses, "select_on": "val", "column": place})
        )
    whole = pd.concat([part for part in numbers if len(part)], ignore_index=True)
    whole = whole.assign(select_on=whole["select_on"].astype("object").fillna("val"))
    title = next(iter(tested))
    remark = f"{measure.title} of what was trained on {title}, on the test images of {', '.join(tested)}."
    columns = {place: f"tested on {name}" for place, name in enumerate(tested)}
    path = folder / "tables" / f"{stem}-tested-elsewhere-{metric}"
    return save_table(path, cells_of(whole, measure), measure, columns, [remark], title)


def _guesses(runs: pd.DataFrame, metric: str, *, own: bool) -> list[float]:
    """Return what guessing costs, a number for each training part: the answers are known from what was trained on."""
    costs: dict[tuple[int, int], float] = {}
    for run in runs[runs["trains"]].to_dict("records") or runs.to_dict("records"):
        part = (run["fold"], run["seed"])
        try:
            counts = read_counts(run["folder"] if own else run["folder"].parent.parent)
            if counts and part not in costs and (cost := _cost(read_predictions(run), counts, metric)) is not None:
                costs[part] = cost
        except DataError:
            # The table has the numbers of the runs nevertheless.
            continue
    return list(costs.values())


def _cost(frame: pd.DataFrame, counts: TrainingCounts, metric: str) -> float | None:
    if metric == "test_mae":
        return float(np.abs(frame["target"] - counts.median).mean())
    if metric == "test_acc" and counts.commonest is not None and "true_phrase" in frame:
        return float((frame["true_phrase"] == counts.commonest).mean())
    return None
