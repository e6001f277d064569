"""Errors of one run in parts of its images: by the true number, by the true level."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from numclip_lightning.report.predictions import target_bins
from numclip_lightning.report.reported import ReportedRun
from numclip_lightning.report.resampling import RESAMPLES, ends, resampled_sums

__all__ = ["errors_in_parts", "value_parts"]

_FEWEST_UNITS = 5


def value_parts(run: ReportedRun) -> tuple[NDArray[np.int64], list[str]]:
    """Return the bin of each image's true number, (N,), and the names of the bins: numbers where these are few."""
    targets = run.frame["target"].to_numpy("float64")
    lows, highs = target_bins(np.unique(targets).tolist())
    names = [f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in zip(lows, highs, strict=True)]
    return np.searchsorted(lows, targets, side="right") - 1, names


def errors_in_parts(
    run: ReportedRun, part: NDArray[np.int64], names: list[str], *, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Average the errors of the images in each part.

    Args:
        run: With true numbers.
        part: The part of each image, (N,); images with -1 are in none.
        names: The names of the parts.
        resamples: How often images (or groups) are drawn for the intervals.

    Returns:
        A row for each part with images, in order: name, part, images, mae, low and high (its 95 % interval, NaN where
        the images are of fewer than 5 groups), bias, bias_low and bias_high.
    """
    shown = part >= 0
    kinds = np.stack([np.ones(len(part)), np.abs(run.errors), run.errors])[:, shown]
    size = len(names)
    columns = (np.arange(3)[:, None] * size + part[shown]).ravel()
    rows = np.tile(np.arange(int(shown.sum())), 3)
    table = sparse.csr_matrix((kinds.ravel(), (rows, columns)), shape=(int(shown.sum()), 3 * size))
    groups = None if run.groups is None else run.groups[shown]
    whole = np.asarray(table.sum(axis=0)).reshape(3, size)
    units, all_units = whole[0], int(shown.sum())
    if groups is not None:
        all_units = len(np.unique(groups))
        units = pd.Series(groups).groupby(part[shown]).nunique().reindex(range(size), fill_value=0).to_numpy()
    drawn = None
    if all_units >= _FEWEST_UNITS:
        drawn = np.asarray(resampled_sums(table, groups=groups, resamples=resamples)).reshape(-1, 3, size)
    found = []
    for place in np.flatnonzero(whole[0]):
        images, mae, bias = whole[0, place], whole[1, place] / whole[0, place], whole[2, place] / whole[0, place]
        spans = [float("nan")] * 4
        if drawn is not None and units[place] >= _FEWEST_UNITS:
            with np.errstate(divide="ignore", invalid="ignore"):
                means = drawn[:, 1:, place] / drawn[:, :1, place]
            spans = [*ends(means[:, 0]), *ends(means[:, 1])]
        found.append((names[place], int(place), int(images), mae, spans[0], spans[1], bias, spans[2], spans[3]))
    return pd.DataFrame(
        found, columns=["name", "part", "images", "mae", "low", "high", "bias", "bias_low", "bias_high"]
    )
