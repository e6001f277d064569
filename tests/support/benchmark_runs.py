"""Made-up runs of a benchmark, written to disk as real ones are."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from numclip_lightning.report.frame import results_frame
from numclip_lightning.runs.records import read_record

Entry = dict[str, Any]


def make_plan(
    methods: Iterable[str],
    *,
    datasets: Iterable[str] = ("counting",),
    folds: Iterable[int] = (0,),
    shots: Iterable[int] = (4, 0),
    seeds: Iterable[int] = (0, 1, 2),
    learn_nothing: Sequence[str] = (),
) -> list[Entry]:
    """Plan every combination; methods that learn nothing once, with all images."""
    numbers = list(shots)
    return [
        {"dataset": d, "method": m, "fold": f, "shots": n, "seed": s, "trains": m not in learn_nothing}
        for s, d, f, m in product(seeds, datasets, folds, methods)
        for n in ([0] if m in learn_nothing else numbers)
    ]


def write_run(
    folder: Path,
    planned: Entry,
    metrics: Mapping[str, float],
    predictions: Iterable[Sequence[float]] = (),
    **other: Any,
) -> Entry:
    """Write a finished run with its predictions (target, value) and read it back; `other` replaces fields."""
    key = {name: planned[name] for name in ("dataset", "method", "fold", "shots", "seed")}
    record = {
        **key,
        "status": "finished",
        "error": None,
        "select_on": "val",
        "seconds": 10.0 + planned["seed"],
        "peak_memory_mib": 800.0,
        "trained_parameters": 1234,
        "metrics": dict(metrics),
        "commit": "abc1234",
        "versions": {"torch": "2.14.0"},
        **other,
    }
    run = folder / "-".join("".join(c if c.isalnum() else "_" for c in str(part)) for part in key.values())
    run.mkdir(parents=True)
    (run / "result.json").write_text(json.dumps(record), encoding="utf-8")
    with (run / "test_predictions.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "target", "value", "phrase", "true_phrase"])
        rows = predictions or [(1.0, 2.0), (2.0, 2.5)]
        writer.writerows([f"{i}.png", target, value, 0, 0] for i, (target, value) in enumerate(rows))
    return read_record(run)


def write_failure(folder: Path, planned: Entry, error: str) -> Entry:
    """Write a run that failed."""
    return write_run(folder, planned, {}, status="failed", error=error)


def write_all(
    folder: Path, plan: Iterable[Entry], metrics: Callable[[Entry], Mapping[str, float]], **other: Any
) -> list[Entry]:
    """Write every run as finished, with the metrics that a function gives it."""
    return [write_run(folder, planned, metrics(planned), **other) for planned in plan]


def rows_of(folder: Path, plan: Iterable[Entry], metric: str, number: Callable[[Entry], float | None]) -> pd.DataFrame:
    """Write a run with a number of one metric for each planned run, none if it is None; return their frame."""
    plan = list(plan)
    numbers = [(run, number(run)) for run in plan]
    records = [write_run(folder, run, {metric: value}) for run, value in numbers if value is not None]
    return results_frame(plan, records, [metric])
