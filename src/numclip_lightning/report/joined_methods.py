"""The ensembles of a benchmark: runs of several methods, or of several seeds, joined into rows of its tables."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numclip_lightning.calibration import Choices
from numclip_lightning.errors import NumClipError
from numclip_lightning.report.joined_run import join_runs

__all__ = ["Members", "join_methods"]

Entry = Mapping[str, Any]


class Members(NamedTuple):
    """The members of an ensemble.

    Attributes:
        of: The methods.
        across_seeds: Whether the runs of all seeds are one answer.
    """

    of: Sequence[str]
    across_seeds: bool


def join_methods(
    ensembles: Mapping[str, Members], planned: Sequence[Entry], records: Sequence[Entry], root: Path
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Join the runs of a benchmark, as far as they have finished.

    Args:
        ensembles: The members by the name of the ensemble.
        planned: The runs, as for `results_frame`.
        records: Their records, with folders.
        root: The folder of the runs; an ensemble gets one beside those of its members.

    Returns:
        Planned rows and records of the ensembles, as `results_frame` takes them. An ensemble whose members have not all
        finished has no record; one whose members are of other images, such as those of another seed, has failed.
    """
    finished = {_key(record): record for record in records if record["status"] == "finished"}
    rows, found = [], []
    for name, members in ensembles.items():
        for entry, parts in _places(name, members, planned):
            rows.append(entry)
            runs = [finished.get(_key(part)) for part in parts]
            if all(runs):
                found.append({**entry, **_joined(entry, [run for run in runs if run], root)})
    return rows, found


def _places(name: str, members: Members, planned: Sequence[Entry]) -> Iterator[tuple[dict[str, Any], list[Entry]]]:
    """Yield each row of an ensemble with the runs that it joins."""
    own = [entry for entry in planned if entry["method"] in members.of]
    trained = [entry for entry in own if entry["trains"]] or own
    seen = set()
    for entry in trained:
        place = tuple(entry[key] for key in ("dataset", "fold", "shots"))
        at = (*place, None if members.across_seeds else entry["seed"])
        if at in seen:
            continue
        seen.add(at)
        parts = [
            other
            for other in own
            if (other["dataset"], other["fold"]) == place[:2]
            # What learns nothing was run once for all numbers of shots.
            and (other["shots"] == place[2] or not other["trains"])
            and (members.across_seeds or other["seed"] == entry["seed"])
        ]
        if {part["method"] for part in parts} == set(members.of):
            yield {**{key: entry[key] for key in ("dataset", "fold", "shots", "seed", "trains")}, "method": name}, parts


def _joined(entry: Entry, runs: Sequence[Entry], root: Path) -> dict[str, Any]:
    """Join runs; return the rest of their record."""
    place = f"fold{entry['fold']}-shots{entry['shots']}-seed{entry['seed']}"
    folder = root / _slug(entry["dataset"]) / _slug(f"ensemble {entry['method']}") / place
    shared = {key: runs[0].get(key) for key in ("commit", "versions", "device", "processes")}
    tested = {"select_on": "test" if any(run.get("select_on") == "test" for run in runs) else "val"}
    try:
        join_runs([Path(run["folder"]) for run in runs], folder, Choices())
    except NumClipError as error:
        return {"status": "failed", "error": str(error), "folder": folder, **shared, **tested}
    # Metrics are computed from the predictions, as all that a run has not recorded.
    return {"status": "finished", "metrics": {}, "folder": folder, **shared, **tested}


def _key(entry: Entry) -> tuple[Any, ...]:
    return tuple(entry[key] for key in ("dataset", "method", "fold", "shots", "seed"))


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
