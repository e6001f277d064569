"""The results of a benchmark as one long pandas frame: a row for each run and metric."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from numclip_lightning.errors import ConfigError, DataError

__all__ = [
    "COLUMNS",
    "COSTS",
    "KEY",
    "at_every_shots",
    "mean_rows",
    "results_frame",
    "run_name",
    "shots_name",
    "shots_of",
]

# The columns that identify a run; `shots` 0 means all images.
KEY = ["dataset", "method", "fold", "shots", "seed"]
# The columns of results.csv.
COLUMNS = [*KEY, "trains", "select_on", "status", "error", "metric", "value", "commit"]
COSTS = ["seconds", "peak_memory_mib", "trained_parameters"]
# Facts about a run that a report shows and results.csv leaves out; `recorded` is false if a run has no such metric.
_FACTS = ["recorded", "versions", "folder", "device", "processes"]
_TYPES = {
    **dict.fromkeys(("fold", "shots", "seed"), "int64"),
    **dict.fromkeys(("trains", "recorded"), "bool"),
    **dict.fromkeys(("versions", "folder"), "object"),
    "processes": "Int64",
    "value": "float64",
}


def results_frame(
    planned: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]], metrics: Sequence[str]
) -> pd.DataFrame:
    """Join planned runs and their records.

    Args:
        planned: One mapping for each run, with `dataset`, `method`, `fold`, `shots`, `seed`, and `trains: false` if the
            method learns nothing. Datasets and methods are shown in the order in which they first occur here.
        records: The result.json of each run that has ended, with its run folder under `folder`, see `read_record`.
        metrics: Metrics that every run should have. A run without one, such as a failed run, has a row without a value.

    Returns:
        The columns of `COLUMNS`, and for each run its folder, versions, device and number of processes. `status` is
        finished, failed or missing; `select_on` is test if the checkpoint was selected on the test set, else val. Costs
        are metrics too.

    Raises:
        DataError: If nothing was planned or nothing has run, if a run occurs twice, wasn't planned, or lacks a field.
        ConfigError: If a record lacks its folder.
    """
    if not planned:
        raise DataError("planned is empty: no run was asked for; name a method and a dataset.")
    if not records:
        raise DataError("records is empty: no run has written its result.json yet; run the benchmark first.")
    entries, found = _by_key(planned, "a planned run"), _by_key(records, "a record")
    if unknown := [key for key in found if key not in entries]:
        raise DataError(
            f"a record is of a run that wasn't planned: {_key_name(unknown[0])}; leave it out, or report it with the "
            "configuration that it was made with."
        )
    rows = [row for key, entry in entries.items() for row in _run_rows(key, entry, found.get(key), metrics)]
    columns = [*COLUMNS, *_FACTS]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({name: _TYPES.get(name, "string") for name in columns})


def run_name(run: Mapping[str, Any]) -> str:
    """Name a run for people: its dataset, method, fold, shots, seed, trial, and other images that it is tested on."""
    name = f"{run['dataset']}, {run['method']}, fold {run['fold']}, {shots_name(run['shots'])}, seed {run['seed']}"
    name += f", trial {run['trial']}" if run.get("trial") else ""
    return name + (f", tested on {run['tested_on']}" if run.get("tested_on") else "")


def shots_name(shots: int) -> str:
    """Return the words for a number of shots."""
    return {0: "all images", 1: "1 shot"}.get(shots, f"{shots} shots")


def shots_of(rows: pd.DataFrame) -> list[int]:
    """Return the numbers of shots that were planned on a dataset, ascending, 0 (all images) last."""
    learned = rows["shots"][rows["trains"]].unique().tolist()
    return sorted(learned or [0], key=lambda number: number or math.inf)


def at_every_shots(rows: pd.DataFrame) -> pd.DataFrame:
    """Repeat the runs of methods that learn nothing at every number of shots, as they are compared at any.

    Args:
        rows: The rows of one dataset.

    Returns:
        The same columns. `method` and `shots` are categories in the order of a table, so that groups are in this order,
        with an empty group where nothing was planned. Values that are infinite are NaN.
    """
    shots = shots_of(rows)
    places = [[number] if trains else shots for number, trains in zip(rows["shots"], rows["trains"], strict=True)]
    spread = rows.assign(shots=places).explode("shots", ignore_index=True)
    return spread.assign(
        method=pd.Categorical(spread["method"], rows["method"].unique()),
        shots=pd.Categorical(spread["shots"], shots),
        value=spread["value"].where(np.isfinite(spread["value"])),
    )


def mean_rows(frame: pd.DataFrame, name: str, members: Sequence[str]) -> pd.DataFrame:
    """Average over datasets: rows as of one more dataset, without costs.

    Args:
        frame: All results.
        name: The name of the mean.
        members: The datasets.

    Returns:
        A row for each method, fold, shots, seed and metric that was planned on all members. It has the mean if all
        runs have finished, and is selected on the test set if one of them is.
    """
    rows = frame[frame["dataset"].isin(members) & ~frame["metric"].isin(COSTS)]
    rows = rows.assign(finished=rows["status"] == "finished", test=rows["select_on"] == "test").fillna({"test": False})
    groups = rows.groupby([*KEY[1:], "metric"], sort=False)
    means = groups.agg(
        trains=("trains", "any"), finished=("finished", "all"), test=("test", "any"), n=("value", "size"),
        recorded=("recorded", "all"),
        # A run without a number has no mean; pandas would leave it out.
        value=("value", lambda values: values.mean(skipna=False)),
    ).reset_index()  # fmt: skip
    means = means[means["n"] == len(members)]
    return means.assign(
        dataset=name,
        status=means["finished"].map({True: "finished", False: "missing"}),
        select_on=means["test"].map({True: "test", False: "val"}).where(means["finished"]),
        value=means["value"].where(means["finished"]),
    ).reindex(columns=frame.columns)


def _key(entry: Mapping[str, Any], where: str) -> tuple[Any, ...]:
    """Read the fields that identify a run.

    Raises:
        DataError: If a field is missing, or a number isn't whole; `where` names the entry.
    """
    if missing := [name for name in KEY if name not in entry]:
        raise DataError(f"{where} lacks {', '.join(missing)}; every run has {', '.join(KEY)}.")
    for name in ("fold", "shots", "seed"):
        if not isinstance(entry[name], int) or entry[name] < 0:
            raise DataError(f"{where} has {name} {entry[name]!r}; give a whole number of 0 or more.")
    return tuple(entry[name] for name in KEY)


def _key_name(key: tuple[Any, ...]) -> str:
    return run_name(dict(zip(KEY, key, strict=True)))


def _by_key(entries: Sequence[Mapping[str, Any]], where: str) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for entry in entries:
        key = _key(entry, where)
        if key in found:
            raise DataError(f"{where} is there twice: {_key_name(key)}; leave one out.")
        found[key] = entry
    return found


def _run_rows(
    key: tuple[Any, ...], entry: Mapping[str, Any], record: Mapping[str, Any] | None, metrics: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the rows of a run, one for each metric."""
    record = {"status": "missing", "folder": None} if record is None else _checked(key, record)
    status, error = record["status"], None
    if status == "failed":
        # A failure always has a reason, in one line.
        error = " ".join(str(record.get("error") or "no reason was given").split())
    # What a failed run measured before it ended is no result, nor are its seconds.
    costs = {name: record.get(name) for name in COSTS}
    values = {**(record.get("metrics") or {}), **costs} if status == "finished" else {}
    values = {name: number for name, number in values.items() if number is not None}
    run = {
        **dict(zip(KEY, key, strict=True)),
        "trains": bool(entry.get("trains", True)),
        "status": status,
        "error": error,
        "versions": record.get("versions") or {},
        "folder": record["folder"] and Path(record["folder"]),
        **{name: record.get(name) for name in ("select_on", "commit", "device", "processes")},
    }
    names = dict.fromkeys([*metrics, *values])
    return [{**run, "metric": name, "value": values.get(name), "recorded": name in values} for name in names]


def _checked(key: tuple[Any, ...], record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Refuse a record without a valid status or folder."""
    if record.get("status") not in ("finished", "failed"):
        raise DataError(
            f"the record of {_key_name(key)} has the status {record.get('status')!r}; it must be 'finished' or "
            "'failed'."
        )
    if "folder" not in record:
        raise ConfigError(
            f"the record of {_key_name(key)} lacks folder; read it with read_record, or add its run folder."
        )
    return record
