"""Sums of errors over the images of groups at each level: what their means, raw and at equal targets, are made of."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from numclip_lightning.report.reported import ReportedRun
from numclip_lightning.report.resampling import resampled_sums

__all__ = ["ABSOLUTE", "COVERED", "FEWEST_UNITS", "SIGNED", "GroupSums", "Mean", "Numbers", "raw_mean"]

FEWEST_UNITS = 5
"""Of fewer patients (or images) nothing is drawn."""
_FEWEST_AT_LEVEL = 5

Numbers = NDArray[np.float64]
Mean = Callable[[Numbers, int], Numbers]
"""From sums and which of them to the mean of each group, (draws, groups)."""

ABSOLUTE, SIGNED, COVERED = 1, 2, 3
"""Which sum of `GroupSums`."""


class GroupSums:
    """Sums over the images of each group at each level: their number, absolute errors, errors and covered targets.

    Arrays of sums have the shape (draws, 4, groups, levels).
    """

    def __init__(
        self,
        run: ReportedRun,
        shown: NDArray[np.bool_],
        place: NDArray[np.int64],
        level: NDArray[np.int64],
        groups: int,
        levels: int,
    ) -> None:
        error, frame = run.errors[shown], run.frame[shown]
        self.has_intervals = {"lower", "upper"} <= set(frame.columns)
        inside = self.width = np.ones(len(frame))
        if self.has_intervals:
            self.width = (frame["upper"] - frame["lower"]).to_numpy("float64")
            inside = frame["target"].between(frame["lower"], frame["upper"]).to_numpy("float64")
        numbers = np.stack([np.ones(len(frame)), np.abs(error), error, inside])
        self.shape = (4, groups, levels)
        cell = place * levels + level
        columns = (np.arange(4)[:, None] * groups * levels + cell).ravel()
        rows = np.tile(np.arange(len(frame)), 4)
        self.table = sparse.csr_matrix((numbers.ravel(), (rows, columns)), shape=(len(frame), 4 * groups * levels))
        self.units_of = None if run.groups is None else run.groups[shown]
        self.place, self.target = place, frame["target"].to_numpy("float64")
        self.whole = np.asarray(self.table.sum(axis=0)).reshape(1, *self.shape)
        images = self.whole[0, 0]
        self.common = (images >= _FEWEST_AT_LEVEL).all(axis=0) if groups else np.zeros(levels, bool)
        # The shares of the levels in all groups together, which every group is given.
        self.weights = np.where(self.common, images.sum(axis=0), 0.0)
        self.kept = float(self.weights.sum() / max(images.sum(), 1))

    def drawn(self, resamples: int) -> Numbers | None:
        """Return the sums of each draw; None if there is nothing to draw from."""
        if len(self.place if self.units_of is None else np.unique(self.units_of)) < FEWEST_UNITS:
            return None
        sums = resampled_sums(self.table, groups=self.units_of, resamples=resamples)
        return np.asarray(sums).reshape(-1, *self.shape)

    def units(self, number: int) -> int:
        """Return how many units a group has."""
        return int(
            (self.place == number).sum()
            if self.units_of is None
            else len(np.unique(self.units_of[self.place == number]))
        )

    def at_equal(self, sums: Numbers, kind: int) -> Numbers:
        """Return the mean of each group at equal targets, (draws, groups).

        A draw without images of a group at a level takes the others: their weights are divided by their own sum.
        """
        images = sums[:, 0][:, :, self.common]
        weights = np.where(images > 0, self.weights[self.common], 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            means = np.where(images > 0, sums[:, kind][:, :, self.common] / images, 0.0)
            found: Numbers = (weights * means).sum(axis=2) / weights.sum(axis=2)
        return found


def raw_mean(sums: Numbers, kind: int) -> Numbers:
    """Return the mean of each group as it is, (draws, groups)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Numbers = sums[:, kind].sum(axis=2) / sums[:, 0].sum(axis=2)
    return found
