"""Errors on values with many, a medium number and few training images, from predictions and training counts."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from numclip_lightning.metrics import measure_of
from numclip_lightning.metrics.by_count import SHOT_GROUPS, ShotMAE, shot_groups
from numclip_lightning.report.cells import cells_of, save_table
from numclip_lightning.report.counts import TrainingCounts, predictions_of_runs

__all__ = ["count_sections", "errors_by_count"]

_LIMITS = {"many": "more than 100", "medium": "20 to 100", "few": "fewer than 20"}


def errors_by_count(rows: pd.DataFrame, shots: int) -> pd.DataFrame:
    """Average the absolute error of each run over the images of many-, medium- and few-shot values.

    Args:
        rows: The rows of one dataset, see `results_frame`.
        shots: At how many shots.

    Returns:
        A row for each run with training counts and each group: method, fold, seed, select_on, group (of `SHOT_GROUPS`),
        images (test images in it) and value (their mean absolute error, in the target's unit; NaN without images).
        What guessing the training median costs is a method too, a run for each training part.

    Raises:
        DataError: If a file of a run is missing or can't be used.
    """
    found = [
        {**run.facts, **group}
        for run in predictions_of_runs(rows, shots)
        if run.counts is not None
        for group in _groups(run.values, run.targets, run.counts)
    ]
    return pd.DataFrame(found, columns=["method", "fold", "seed", "select_on", "group", "images", "value"])


def _groups(value: np.ndarray, target: np.ndarray, counts: TrainingCounts) -> list[dict[str, object]]:
    """Return the images and the error of each group."""
    images, place = np.unique(counts.images_at(target), return_inverse=True)
    # Values with equally many training images are in one group, and so can share a place.
    metric, places = ShotMAE(torch.from_numpy(images)), torch.from_numpy(place).long()
    # float32, as a run measures its errors.
    preds, true = (torch.from_numpy(numbers.astype("float32")) for numbers in (value, target))
    metric.update(preds, true, places)
    errors, sizes = metric.compute(), shot_groups(torch.from_numpy(images))[places].bincount(minlength=3).tolist()
    return [
        {"group": name, "images": size, "value": errors[f"mae_{name}"].item()}
        for name, size in zip(SHOT_GROUPS, sizes, strict=True)
    ]


def count_sections(rows: pd.DataFrame, dataset: str, shots: int, folder: Path, stem: str) -> list[str]:
    """Write the errors by training images, and return their section.

    Args:
        rows: The rows of the dataset.
        dataset: Its name.
        shots: At how many shots.
        folder: The folder of the report.
        stem: The beginning of the names of the files.

    Returns:
        The section; nothing if no run has counted its training images.

    Raises:
        DataError: If a file of a run is missing or can't be used.
    """
    errors = errors_by_count(rows, shots)
    if errors.empty:
        return []
    title = "### Error by training images"
    images = errors.groupby("group")["images"].mean().reindex(SHOT_GROUPS)
    if len(filled := images[images > 0]) == 1:
        return [title, f"All test images have values with {_LIMITS[str(filled.index[0])]} training images."]
    # A group without test images has no planned number.
    errors = errors[errors["images"] > 0]
    errors = errors.assign(column=errors["group"].map(SHOT_GROUPS.index))
    measure = measure_of("test_mae")
    columns = {
        place: f"{name.capitalize()} ({_LIMITS[name]}; {images[name]:,.0f} test images)"
        for place, name in enumerate(SHOT_GROUPS)
    }
    remark = "Mean absolute error on test images by how many training images their value has (Yang et al. 2021)."
    path = folder / "tables" / f"{stem}-error-by-count"
    return [title, save_table(path, cells_of(errors, measure), measure, columns, [remark], dataset)]
