"""The training images of runs, counted by value, as `train_counts.json` in their folders has them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from numclip_lightning.errors import DataError
from numclip_lightning.plain import parse_json
from numclip_lightning.report.frame import KEY, at_every_shots, run_name
from numclip_lightning.report.guessing import GUESSES
from numclip_lightning.report.predictions import read_predictions

__all__ = ["RunPredictions", "TrainingCounts", "counts_of", "finished_runs", "predictions_of_runs", "read_counts"]

_COUNTS = "train_counts.json"


@dataclass(frozen=True)
class TrainingCounts:
    """How many training images each value has.

    Attributes:
        minimum: The first value of the scale.
        step: The distance between its values; of their logarithms, where `logarithmic`.
        median: The median of the training targets, what a guess answers.
        ranks: The number of images at each rank that has any.
        commonest: The phrase of the commonest level, the lowest of several; None if levels were not counted.
        logarithmic: Whether the scale is.
    """

    minimum: float
    step: float
    median: float
    ranks: Mapping[int, int]
    commonest: str | None = None
    logarithmic: bool = False

    def images_at(self, targets: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return how many training images the value of each target has, as `OrdinalScale.to_rank` finds it."""
        above = np.log(targets / self.minimum) if self.logarithmic else targets - self.minimum
        ranks = np.floor(above / self.step + 0.5).astype("int64")
        return np.array([self.ranks.get(rank, 0) for rank in ranks.tolist()], dtype="int64")


def read_counts(folder: Path) -> TrainingCounts | None:
    """Read the counts of a run; None if it has none, as where its training list was not there.

    Raises:
        DataError: If the file can't be used.
    """
    path = Path(folder, _COUNTS)
    if not path.is_file():
        return None
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        minimum, step, median = (float(found[name]) for name in ("minimum", "step", "median"))
        logarithmic = found.get("spacing") == "log"
        step = math.log(float(found["ratio"])) if logarithmic else step
        values = [(float(value), int(count)) for value, count in found["values"].items()]
        ranks = {
            round((math.log(value / minimum) if logarithmic else value - minimum) / step): count
            for value, count in values
        }
        levels = dict(found.get("levels") or {})
        commonest = max(levels, key=levels.__getitem__, default=None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise DataError(f"{path}, the counts of training images, can't be read ({error}); delete it.") from error
    return TrainingCounts(minimum, step, median, ranks, commonest, logarithmic)


def finished_runs(rows: pd.DataFrame, shots: int) -> pd.DataFrame:
    """Return the finished runs at a number of shots, a row each; those of methods that learn nothing are at any."""
    spread = at_every_shots(rows)
    runs = spread[spread["shots"] == shots].drop_duplicates(KEY)
    return runs[(runs["status"] == "finished") & runs["folder"].notna()]


def counts_of(runs: pd.DataFrame) -> list[TrainingCounts | None]:
    """Return the counts of each run; where a method learns nothing those of a run that trains, as it is compared there.

    Args:
        runs: See `finished_runs`.

    Raises:
        DataError: If a file can't be used.
    """
    own = [read_counts(folder) for folder in runs["folder"]]
    parts = list(zip(runs["fold"], runs["seed"], strict=True))
    trained = {
        part: counts for part, counts, trains in zip(parts, own, runs["trains"], strict=True) if counts and trains
    }
    return [
        counts if trains else trained.get(part, counts)
        for part, counts, trains in zip(parts, own, runs["trains"], strict=True)
    ]


class RunPredictions(NamedTuple):
    """The predictions of one run, or the one answer of a guess.

    Attributes:
        facts: Its method, fold, seed and select_on.
        values: The predicted numbers (N,).
        targets: The true ones (N,).
        counts: The training images of the run; None if they were not counted.
    """

    facts: dict[str, Any]
    values: NDArray[np.float64]
    targets: NDArray[np.float64]
    counts: TrainingCounts | None


def predictions_of_runs(rows: pd.DataFrame, shots: int) -> list[RunPredictions]:
    """Return the predictions of each finished run at a number of shots, and after them those of guessing.

    Guessing answers the training median; it is a method too, with a run for each training part that was counted.

    Raises:
        DataError: If a file of a run is missing or can't be used.
    """
    runs = finished_runs(rows, shots)
    found: list[RunPredictions] = []
    guesses: dict[tuple[int, int], RunPredictions] = {}
    for run, counts in zip(runs.to_dict("records"), counts_of(runs), strict=True):
        frame = read_predictions(run)
        if counts and not np.isfinite(counts.step * counts.minimum * counts.median):
            raise DataError(f"the counts of training images of {run_name(run)} have no finite scale; delete the file.")
        facts = {name: run[name] for name in ("method", "fold", "seed", "select_on")}
        values, targets = (frame[name].to_numpy("float64") for name in ("value", "target"))
        found.append(RunPredictions(facts, values, targets, counts))
        if counts and (part := (run["fold"], run["seed"])) not in guesses:
            guess = {**facts, "method": GUESSES["mae"], "select_on": "val"}
            guesses[part] = RunPredictions(guess, np.full_like(targets, counts.median), targets, counts)
    return [*found, *guesses.values()]
