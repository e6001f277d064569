"""The cumulative score against the tolerance, from predictions: a curve for each method."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.ticker import MaxNLocator

from numclip_lightning.metrics import measure_of
from numclip_lightning.metrics.curve import CumulativeScoreCurve
from numclip_lightning.report.cells import cells_of, save_table
from numclip_lightning.report.counts import predictions_of_runs
from numclip_lightning.report.figures import save_score_curves
from numclip_lightning.report.frame import shots_name
from numclip_lightning.report.guessing import GUESSES
from numclip_lightning.report.spreadsheets import write_csv

__all__ = ["curve_sections", "score_curves"]

# The curve ends where all but this share of all errors lie within, at a round number.
_BEYOND = 0.05
_POINTS = 100
_COLUMNS = 8


def score_curves(rows: pd.DataFrame, shots: int) -> pd.DataFrame:
    """Return the share of test images with an error of at most t, for many t, for each run.

    Args:
        rows: The rows of one dataset, see `results_frame`.
        shots: At how many shots.

    Returns:
        A row for each run and t: method, fold, seed, select_on, tolerance (t, from 0, in the target's unit), is_tick
        (whether t is one of a few round numbers) and value (0..1). What guessing the training median costs is a method
        too, a run for each training part. Runs with a value that is not finite are left out.

    Raises:
        DataError: If a file of a run is missing or can't be used.
    """
    # float32, as a run measures its errors.
    errors = [
        (run.facts, np.abs(run.values.astype("float32") - run.targets.astype("float32")))
        for run in predictions_of_runs(rows, shots)
        if np.isfinite(run.values).all()
    ]
    columns = ["method", "fold", "seed", "select_on", "tolerance", "is_tick", "value"]
    own = [error for facts, error in errors if facts["method"] not in GUESSES.values()]
    if not own:
        return pd.DataFrame(columns=columns)
    ticks = _ticks(float(np.quantile(np.concatenate(own), 1 - _BEYOND)))
    tolerances = sorted({*ticks, *np.linspace(0, ticks[-1], _POINTS + 1).tolist()})
    found = []
    for facts, error in errors:
        curve = CumulativeScoreCurve(tolerances)
        curve.update(torch.from_numpy(error), torch.zeros(len(error)))
        shares = zip(tolerances, curve.compute().tolist(), strict=True)
        found += [{**facts, "tolerance": t, "is_tick": t in ticks, "value": share} for t, share in shares]
    return pd.DataFrame(found, columns=columns)


def _ticks(end: float) -> list[float]:
    """Return a few round numbers from 0 on, the last of which is not below the end."""
    ticks = MaxNLocator(_COLUMNS, steps=[1, 2, 5, 10]).tick_values(0, end or 1)
    return [float(f"{tick:.12g}") for tick in ticks if tick >= 0]


def curve_sections(rows: pd.DataFrame, dataset: str, shots: int, folder: Path, stem: str) -> list[str]:
    """Write the curves as a picture, their points as CSV, a few of them as a table, and return their section.

    Args:
        rows: The rows of the dataset.
        dataset: Its name.
        shots: At how many shots.
        folder: The folder of the report.
        stem: The beginning of the names of the files.

    Raises:
        DataError: If a file of a run is missing or can't be used.
    """
    curves = score_curves(rows, shots)
    if curves.empty:
        return []
    name = f"{stem}-cumulative-score"
    points = curves.groupby(["method", "select_on", "tolerance"], sort=False)["value"].agg(["mean", "std", "count"])
    points = points.reset_index().rename(columns={"count": "n"})
    write_csv(points, folder / "tables" / f"{name}-curve.csv")
    save_score_curves(folder / "plots" / f"{name}.png", points, f"Cumulative score on {dataset}, {shots_name(shots)}")
    ticks = sorted(set(curves["tolerance"][curves["is_tick"] & (curves["tolerance"] > 0)]))
    chosen = curves[curves["tolerance"].isin(ticks)]
    chosen = chosen.assign(column=chosen["tolerance"].map(ticks.index))
    measure = measure_of("test_cs1")
    columns = {place: f"CS@{tick:g}" for place, tick in enumerate(ticks)}
    remark = "CS@t: share of test images with an error of at most t, in %."
    table = save_table(folder / "tables" / name, cells_of(chosen, measure), measure, columns, [remark], dataset)
    return ["### Cumulative score", f"![Cumulative score against the tolerance](plots/{name}.png)", table]
