"""The predictions of finished runs, and errors by target from them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from numclip_lightning.errors import DataError
from numclip_lightning.report.frame import KEY, at_every_shots, run_name

__all__ = [
    "ATTRIBUTE",
    "check_separator",
    "errors_by_value",
    "probability_columns",
    "read_file",
    "read_predictions",
    "target_bins",
]

_PREDICTIONS = "test_predictions.csv"
# Up to so many different targets each has a bin of its own; more share at most as many bins, with round ends.
_MOST_BINS = 12
# Runs of versions before 0.1.0 stay readable, as their records do: `level` was the phrase of the most probable level.
_RENAMED = {"true_level": "true_phrase", "level": "most_probable"}
# Words are read as they are, also a phrase such as "None"; numbers may be missing.
_WORDS = ("path", "phrase", "true_phrase", "most_probable", "group", "select_on", *_RENAMED)
_NO_NUMBER = {name: ["", "nan", "NaN"] for name in ("target", "value", "error")}
ATTRIBUTE = "attribute_"
"""How the name of a column begins that holds an attribute of an image, such as `attribute_sex`."""


def errors_by_value(rows: pd.DataFrame, shots: int) -> pd.DataFrame:
    """Average the absolute error of each method by the target of the test images.

    Args:
        rows: The rows of one dataset, see `results_frame`.
        shots: At how many shots.

    Returns:
        One row for each method and bin with images: method, select_on, low and high (the ends of the bin, equal if it
        is a single number; a target on an end belongs to the upper bin, except in the last), images (test images in a
        run, on average) and mae (over the images of all runs; NaN if a prediction is). Empty if no run has finished.

    Raises:
        DataError: If the predictions of a finished run are missing or can't be used.
    """
    spread = at_every_shots(rows)
    runs = spread[spread["shots"] == shots].drop_duplicates(KEY)
    finished = runs[runs["status"] == "finished"]
    columns = ["method", "select_on", "low", "high", "images", "mae"]
    if finished.empty:
        return pd.DataFrame(columns=columns)
    frame = pd.concat([_read_errors(run) for run in finished.to_dict("records")], ignore_index=True)
    lows, highs = target_bins(np.unique(frame["target"]).tolist())
    frame["bin"] = np.searchsorted(lows, frame["target"], side="right") - 1
    # Methods in the order of the plan.
    frame["method"] = pd.Categorical(frame["method"], runs["method"].cat.categories)
    errors = frame.groupby(["method", "bin"], observed=True)["error"]
    found = errors.agg(images="size", mae=lambda error: error.mean(skipna=False)).reset_index()
    selected = runs.loc[runs["select_on"] == "test", "method"]
    return found.assign(
        select_on=np.where(found["method"].isin(selected), "test", "val"),
        low=found["bin"].map(lows.__getitem__),
        high=found["bin"].map(highs.__getitem__),
        images=found["images"] / found["method"].astype("object").map(finished["method"].value_counts()),
    )[columns]


def read_predictions(run: Mapping[Any, Any]) -> pd.DataFrame:
    """Read the test predictions of a run: path, target, value, phrases and the probability of each level.

    Args:
        run: A row of `results_frame`, or a record, with its folder.

    Returns:
        The columns of the file. `value` is NaN where an untrained run predicted that; targets are numbers.

    Raises:
        DataError: If the file is missing or can't be used.
    """
    path = f"{run['folder']}/{_PREDICTIONS}"
    again = f"delete {run['folder']} and run the benchmark again."
    try:
        frame = read_file(path).astype({"target": "float64", "value": "float64"})
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}, the predictions of {run_name(run)}, can't be read ({error}); {again}") from error
    if frame.empty or not np.isfinite(frame["target"]).all():
        raise DataError(
            f"{path}, the predictions of {run_name(run)}, has no rows, or a target that is no number; {again}"
        )
    return frame


def read_file(path: str | Path) -> pd.DataFrame:
    """Read any CSV of predictions as it is: words as words, also a phrase such as "None"; old names as today's.

    Raises:
        OSError: If it can't be read.
        ValueError: If it is no table.
    """
    header = pd.read_csv(path, nrows=0, encoding_errors="surrogateescape")
    check_separator(path, header.columns)
    words = {name: "str" for name in header.columns if name in _WORDS or name.startswith(ATTRIBUTE)}
    frame = pd.read_csv(
        path, dtype=words, keep_default_na=False, na_values=_NO_NUMBER, encoding_errors="surrogateescape"
    )
    return frame if "true_phrase" in frame else frame.rename(columns=_RENAMED)


def check_separator(path: str | Path, names: Sequence[str]) -> None:
    """Refuse a file whose columns are separated by something else than commas, as some spreadsheets write.

    Raises:
        DataError: If its heading is one name with a semicolon or a tab in it.
    """
    for separator, word in ((";", "semicolons"), ("\t", "tabs")):
        if len(names) == 1 and separator in str(names[0]):
            raise DataError(f"{path} has its columns separated by {word}; save it again with commas, as CSV.")


def _read_errors(run: Mapping[Any, Any]) -> pd.DataFrame:
    """Read the targets and absolute errors of a run."""
    frame = read_predictions(run)
    errors = (frame["value"] - frame["target"]).abs()
    return pd.DataFrame({"method": run["method"], "target": frame["target"], "error": errors})


def target_bins(targets: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the lower and upper ends of the bins for different targets, ascending; equal ends for single numbers."""
    if len(targets) <= _MOST_BINS:
        return list(targets), list(targets)
    edges = [float(edge) for edge in MaxNLocator(_MOST_BINS).tick_values(targets[0], targets[-1])]
    return edges[:-1], edges[1:]


def probability_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns with the probability of each level, `p(PHRASE)`, in the order of the levels."""
    return [name for name in frame.columns if name.startswith("p(") and name.endswith(")")]
