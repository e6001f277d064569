"""The predictions of finished runs: how wrong a method is at small and at large targets."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from numclip_lightning.errors import DataError
from numclip_lightning.report.results import Results, Run

__all__ = ["PREDICTIONS", "errors_by_value"]

PREDICTIONS = "test_predictions.csv"
# Up to so many different targets each has a bin of its own; more share at most as many bins, with round ends.
_MOST_BINS = 12
_COLUMNS = ["method", "protocol", "low", "high", "images", "mae"]


def errors_by_value(results: Results, dataset: str, shots: int) -> pd.DataFrame:
    """Return the mean absolute error of each method by the target of the test images.

    Args:
        results: All runs.
        dataset: Which dataset.
        shots: At how many shots.

    Returns:
        One row for each method and bin with images: method, protocol, low and high (the ends of the bin, equal where it
        is a single number; what lies on an end belongs to the upper bin, but for the last), images (test images in a
        run, on average) and mae (over the images of all runs; NaN where a prediction is). Empty where no run has
        finished.

    Raises:
        DataError: If the predictions of a finished run are missing or can't be used.
    """
    parts = [
        _read(run).assign(method=method)
        for method in results.methods(dataset)
        for run in results.cell(dataset, method, shots)
        if run.status == "finished"
    ]
    if not parts:
        return pd.DataFrame(columns=_COLUMNS)
    runs = pd.Series([part["method"].iloc[0] for part in parts]).value_counts()
    frame = pd.concat(parts, ignore_index=True)
    lows, highs = _bins(np.unique(frame["target"]).tolist())
    frame["bin"] = np.searchsorted(lows, frame["target"], side="right") - 1
    # Not sorted: methods stay in the order of the plan.
    grouped = frame.groupby("method", sort=False)
    rows = [
        (
            method,
            results.protocol(dataset, str(method), shots),
            lows[place],
            highs[place],
            len(inside) / runs[method],
            inside["error"].mean(skipna=False),
        )
        for method, group in grouped
        for place, inside in group.groupby("bin")
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _read(run: Run) -> pd.DataFrame:
    """Return the targets and absolute errors of a run."""
    assert run.folder is not None  # every record has one
    path = run.folder / PREDICTIONS
    again = f"delete {run.folder} and run the benchmark again."
    try:
        frame = pd.read_csv(path, usecols=["target", "value"], dtype="float64")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}, the predictions of {run.key}, can't be read ({error}); {again}") from error
    # An untrained run may predict NaN; a target is always a number.
    if frame.empty or not np.isfinite(frame["target"]).all():
        raise DataError(f"{path}, the predictions of {run.key}, has no rows, or a target that is no number; {again}")
    return pd.DataFrame({"target": frame["target"], "error": (frame["value"] - frame["target"]).abs()})


def _bins(targets: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the lower and upper ends of the bins for the different targets, ascending."""
    if len(targets) <= _MOST_BINS:
        return list(targets), list(targets)
    edges = [float(edge) for edge in MaxNLocator(_MOST_BINS).tick_values(targets[0], targets[-1])]
    return edges[:-1], edges[1:]
