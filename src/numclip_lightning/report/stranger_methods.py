"""Methods of a benchmark that others have run: rows of its tables, from files of their predictions."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from numclip_lightning.errors import ConfigError, NumClipError
from numclip_lightning.report.answers import read_scale
from numclip_lightning.report.counts import read_counts
from numclip_lightning.report.predictions import read_predictions
from numclip_lightning.report.strangers import Stranger, Unanswered, with_truth
from numclip_lightning.scale import OrdinalScale

__all__ = ["Strangers", "answer_methods"]

Entry = Mapping[str, Any]


class Strangers(NamedTuple):
    """One method of others.

    Attributes:
        files: Its predictions by the name of the dataset.
        unanswered: What an image without a number counts to.
    """

    files: Mapping[str, Stranger]
    unanswered: Unanswered = "refuse"


def answer_methods(
    methods: Mapping[str, Strangers], planned: Sequence[Entry], records: Sequence[Entry], root: Path
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read the predictions of others against the test lists of the runs of a benchmark.

    Args:
        methods: The methods of others, by their names in tables.
        planned: The runs, as for `results_frame`.
        records: Their records, with folders; finished ones have the true numbers, the scale and the training median.
        root: The folder of the runs; the predictions get folders beside theirs.

    Returns:
        Planned rows and records, as `results_frame` takes them: a row for each fold and seed, which learns nothing.
        Where no run has finished there is no record; where the file does not fit the list, the row has failed.
    """
    rows, found = [], []
    for name, method in methods.items():
        for place, run in _places(planned, records):
            dataset, fold, seed = place
            if dataset not in method.files:
                continue
            entry = {"dataset": dataset, "method": name, "fold": fold, "shots": 0, "seed": seed, "trains": False}
            rows.append(entry)
            if run is not None:
                folder = root / _slug(dataset) / _slug(f"predictions {name}") / f"fold{fold}-seed{seed}"
                record = _answered(method.files[dataset], method.unanswered, run, folder)
                # No checkpoint of theirs was chosen on the images of ours.
                found.append({**entry, "select_on": "val", "folder": folder, **record})
    return rows, found


def _places(planned: Sequence[Entry], records: Sequence[Entry]) -> Iterator[tuple[tuple[str, int, int], Entry | None]]:
    """Yield each test list, by dataset, fold and seed, with the finished run that knows most of it."""
    finished: dict[tuple[str, int, int], Entry] = {}
    for record in records:
        place = (record["dataset"], record["fold"], record["seed"])
        # A run on all images counts the whole training part.
        best = place not in finished or (record["shots"] == 0 and finished[place]["shots"] != 0)
        if record["status"] == "finished" and best:
            finished[place] = record
    for place in dict.fromkeys((entry["dataset"], entry["fold"], entry["seed"]) for entry in planned):
        yield place, finished.get(place)


def _answered(stranger: Stranger, unanswered: Unanswered, run: Entry, folder: Path) -> dict[str, Any]:
    """Write the predictions as those of a run; return the rest of the record."""
    try:
        counts = read_counts(Path(run["folder"]))
        scale = _scale(Path(run["folder"]))
        frame, guessed = with_truth(
            stranger, read_predictions(run), scale, unanswered=unanswered, median=counts.median if counts else None
        )
    except NumClipError as error:
        return {"status": "failed", "error": str(error)}
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "test_predictions.csv", index=False, errors="surrogateescape")
    arguments = {"scale": scale.to_dict()} if scale else {}
    config = {
        "model": {"class_path": "Predictions", "init_args": arguments},
        "predictions": str(stranger.file),
        "counted_as_median": guessed,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    # Metrics are computed from the predictions, as all that a run has not recorded.
    return {"status": "finished", "metrics": {}, "unanswered": guessed}


def _scale(folder: Path) -> OrdinalScale | None:
    try:
        return read_scale(folder)
    except ConfigError:
        return None


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
