"""The runs of a benchmark: what was planned, what each run wrote, and all of it as one long table."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from numclip_lightning.errors import ConfigError, DataError

__all__ = ["COSTS", "Results", "Run", "RunKey", "shots_name"]

COSTS = ("seconds", "peak_memory_mib", "trained_parameters")
# The names of columns; what is not listed is text.
_COLUMNS = ("dataset", "method", "fold", "shots", "seed", "trains", "protocol", "status", "error", "metric", "value")
_TYPES = {"fold": "int64", "shots": "int64", "seed": "int64", "trains": "bool", "value": "float64"}


class RunKey(NamedTuple):
    """What tells one run from all others; `shots` 0 means all images."""

    dataset: str
    method: str
    fold: int
    shots: int
    seed: int

    @classmethod
    def of(cls, entry: Mapping[str, Any], where: str) -> "RunKey":
        """Read the key from a planned run or a record.

        Raises:
            DataError: If a field is missing, or a number isn't whole; `where` says of what.
        """
        missing = [name for name in cls._fields if name not in entry]
        if missing:
            raise DataError(f"{where} lacks {', '.join(missing)}; every run has {', '.join(cls._fields)}.")
        for name in ("fold", "shots", "seed"):
            if not isinstance(entry[name], int) or entry[name] < 0:
                raise DataError(f"{where} has {name} {entry[name]!r}; give a whole number of 0 or more.")
        return cls(*(entry[name] for name in cls._fields))

    def __str__(self) -> str:
        return f"{self.dataset}, {self.method}, fold {self.fold}, {shots_name(self.shots)}, seed {self.seed}"


@dataclass(frozen=True)
class Run:
    """A planned run and what became of it.

    Attributes:
        key: What it is.
        trains: Whether it learns anything; what doesn't is run once and compared at any number of shots.
        status: `missing` is what was planned and has no record.
        error: Why it failed, in one line.
        protocol: `clean`, or `paper` where the checkpoint was selected on the test set.
        values: Metrics and costs that have a number, finite or not.
        commit: The version of the code.
        versions: The versions of the libraries.
        folder: Its run folder.
        device: What it was computed on; None in records that don't say.
        processes: How many runs were made at once; likewise.
    """

    key: RunKey
    trains: bool
    status: Literal["finished", "failed", "missing"] = "missing"
    error: str | None = None
    protocol: str | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    commit: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    device: str | None = None
    processes: int | None = None


class Results:
    """All runs of a benchmark, in the order in which they were planned.

    Args:
        planned: One mapping for each run, with `dataset`, `method`, `fold`, `shots`, `seed`, and `trains: false` where
            the method learns nothing. Datasets and methods are shown in the order in which they first stand here.
        records: What the runs wrote into result.json, with their run folder under `folder`.
        means: Datasets by the name of the mean over them. A mean can be asked for like a dataset: of each method, fold,
            shots and seed it has the mean over the datasets' runs where all have finished. Its runs are not in `runs`.

    Raises:
        DataError: If nothing was planned or nothing has run, if a run is there twice, wasn't planned, or lacks a field.
    """

    def __init__(
        self,
        planned: Sequence[Mapping[str, Any]],
        records: Sequence[Mapping[str, Any]],
        means: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if not planned:
            raise DataError("planned is empty: no run was asked for; name a method and a dataset.")
        if not records:
            raise DataError("records is empty: no run has written its result.json yet; run the benchmark first.")
        entries = _by_key(planned, "a planned run")
        found = _by_key(records, "a record")
        if unknown := [key for key in found if key not in entries]:
            raise DataError(
                f"a record is of a run that wasn't planned: {unknown[0]}; leave it out, or report it with the "
                "configuration that it was made with."
            )
        self.runs = [_run(key, bool(entry.get("trains", True)), found.get(key)) for key, entry in entries.items()]
        self.datasets = list(dict.fromkeys(key.dataset for key in entries))
        self._by_method: dict[tuple[str, str], list[Run]] = {}
        self.means = dict(means or {})
        averaged = [run for name, members in self.means.items() for run in _mean_runs(self.runs, name, members)]
        for run in [*self.runs, *averaged]:
            self._by_method.setdefault((run.key.dataset, run.key.method), []).append(run)

    def of(self, dataset: str) -> list[Run]:
        """Return the runs on a dataset."""
        return [run for (name, _), runs in self._by_method.items() if name == dataset for run in runs]

    def methods(self, dataset: str) -> list[str]:
        """Return the methods on a dataset, in the order of the plan."""
        return [method for name, method in self._by_method if name == dataset]

    def columns(self, dataset: str) -> list[int]:
        """Return the numbers of shots that were planned on a dataset, ascending, 0 (all images) last."""
        shots = {run.key.shots for run in self.of(dataset) if run.trains}
        return sorted(shots or {0}, key=lambda number: number or math.inf)

    def trains(self, dataset: str, method: str) -> bool:
        """Return whether a method learns anything on a dataset."""
        return any(run.trains for run in self._by_method[dataset, method])

    def cell(self, dataset: str, method: str, shots: int) -> list[Run]:
        """Return the runs of a method at a number of shots; those of a method that learns nothing stand at any."""
        return [run for run in self._by_method[dataset, method] if run.key.shots == shots or not run.trains]

    def is_paper(self, dataset: str, method: str, shots: int) -> bool:
        """Return whether a run of a method at a number of shots was selected on the test set."""
        return any(run.protocol == "paper" for run in self.cell(dataset, method, shots))

    def protocol(self, dataset: str, method: str, shots: int) -> str:
        """Return `paper` where a run of a method at a number of shots was selected on the test set, else `clean`."""
        return "paper" if self.is_paper(dataset, method, shots) else "clean"

    def numbers(self, dataset: str, method: str, shots: int, metric: str) -> dict[tuple[int, int], float]:
        """Return a metric by fold and seed; runs without a finite number of it are left out."""
        runs = [run for run in self.cell(dataset, method, shots) if run.status == "finished"]
        found = {(run.key.fold, run.key.seed): run.values.get(metric, math.nan) for run in runs}
        return {pair: number for pair, number in found.items() if math.isfinite(number)}

    def long(self, metrics: Sequence[str]) -> pd.DataFrame:
        """Return one row for each run and metric.

        Args:
            metrics: What every run should have: where one lacks it, as failed runs do, its row has no value.

        Returns:
            The columns dataset, method, fold, shots, seed, trains, protocol, status, error, metric, value and commit.
            Costs are metrics too.
        """
        rows = [
            (*run.key, run.trains, run.protocol, run.status, run.error, metric, run.values.get(metric), run.commit)
            for run in self.runs
            for metric in dict.fromkeys([*metrics, *run.values])
        ]
        columns = (*_COLUMNS, "commit")
        frame = pd.DataFrame(rows, columns=list(columns))
        return frame.astype({name: _TYPES.get(name, "string") for name in columns})


def shots_name(shots: int) -> str:
    """Return the words for a number of shots."""
    return {0: "all images", 1: "1 shot"}.get(shots, f"{shots} shots")


def _by_key(entries: Sequence[Mapping[str, Any]], where: str) -> dict[RunKey, Mapping[str, Any]]:
    found: dict[RunKey, Mapping[str, Any]] = {}
    for entry in entries:
        key = RunKey.of(entry, where)
        if key in found:
            raise DataError(f"{where} is there twice: {key}; leave one out.")
        found[key] = entry
    return found


def _mean_runs(runs: Sequence[Run], name: str, members: Sequence[str]) -> list[Run]:
    """Return a run for each method, fold, shots and seed, with the means over datasets where all have finished."""
    groups: dict[RunKey, list[Run]] = {}
    for run in runs:
        if run.key.dataset in members:
            groups.setdefault(run.key._replace(dataset=name), []).append(run)
    return [_mean_run(key, group) for key, group in groups.items() if len(group) == len(members)]


def _mean_run(key: RunKey, runs: Sequence[Run]) -> Run:
    trains = any(run.trains for run in runs)
    if any(run.status != "finished" for run in runs):
        return Run(key, trains)
    # What they took is no result of the mean.
    shared = set(runs[0].values).intersection(*(run.values for run in runs)).difference(COSTS)
    return Run(
        key,
        trains,
        status="finished",
        protocol="paper" if any(run.protocol == "paper" for run in runs) else "clean",
        values={metric: statistics.fmean(run.values[metric] for run in runs) for metric in sorted(shared)},
    )


def _run(key: RunKey, trains: bool, record: Mapping[str, Any] | None) -> Run:
    if record is None:
        return Run(key, trains)
    status = record.get("status")
    if status not in ("finished", "failed"):
        raise DataError(f"the record of {key} has the status {status!r}; it must be 'finished' or 'failed'.")
    if "folder" not in record:
        raise ConfigError(f"the record of {key} lacks folder; read it with read_record, or add its run folder.")
    # What a failed run measured before it broke off is no result, its seconds neither.
    costs = {name: record.get(name) for name in COSTS}
    found = {**(record.get("metrics") or {}), **costs} if status == "finished" else {}
    return Run(
        key,
        trains,
        status=status,
        # A failure always says something.
        error=" ".join(str(record.get("error") or "no reason was given").split()) if status == "failed" else None,
        protocol=record.get("protocol"),
        values={name: float(number) for name, number in found.items() if number is not None},
        commit=record.get("commit"),
        versions=record.get("versions") or {},
        folder=Path(record["folder"]),
        device=record.get("device"),
        processes=record.get("processes"),
    )
