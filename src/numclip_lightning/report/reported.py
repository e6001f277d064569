"""A run as a report sees it: its predictions, and what else lies in its folder; a stranger's CSV has these alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from numclip_lightning.report.counts import TrainingCounts
from numclip_lightning.report.predictions import ATTRIBUTE, probability_columns
from numclip_lightning.scale import OrdinalScale

__all__ = ["ReportedRun"]

# Written probabilities have a sum of 1 but for their rounding.
_ROUNDED = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportedRun:
    """One run, or one file of predictions.

    Attributes:
        name: What it is called in the report.
        file: The file of predictions.
        folder: The run folder; None for a file alone.
        frame: Its rows, see `read_file`: `path` and `value` always; `target` and `error` where the true numbers are
            known, and then in every row.
        unusable: Rows that were left out, as their value (or target) is no finite number.
        config: The configuration; empty if unknown.
        metrics: What the run has recorded; empty if unknown.
        scale: The scale; None if unknown.
        counts: The training images by value; None if unknown.
        prototypes: What the prompts stand for, K words, and the cosine similarity of each two, (K, K); None if unknown.
        maps: The files of maps by the path of their image, see `map_files`; empty if there are none.
    """

    name: str
    file: Path
    folder: Path | None
    frame: pd.DataFrame
    unusable: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    scale: OrdinalScale | None = None
    counts: TrainingCounts | None = None
    prototypes: tuple[Sequence[str], NDArray[np.float64]] | None = None
    maps: Mapping[str, Path] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """The unit of the numbers; may be empty."""
        return self.scale.unit if self.scale else ""

    @property
    def has_truth(self) -> bool:
        """Whether the true numbers are known."""
        return "target" in self.frame

    @cached_property
    def errors(self) -> NDArray[np.float64]:
        """Value minus target of each image, (N,)."""
        found: NDArray[np.float64] = (self.frame["value"] - self.frame["target"]).to_numpy("float64")
        return found

    @cached_property
    def groups(self) -> NDArray[Any] | None:
        """The group of each image, (N,), as intervals draw them; None where the file has no column of groups."""
        if "group" not in self.frame:
            return None
        own = "image " + self.frame.index.astype("str").to_series(index=self.frame.index)
        found: NDArray[Any] = self.frame["group"].where(self.frame["group"] != "", own).to_numpy()
        return found

    @cached_property
    def phrases(self) -> list[str]:
        """The phrases of the levels in order; those of the file by their mean target if no scale is known."""
        if columns := probability_columns(self.frame):
            return [name[2:-1] for name in columns]
        if self.scale:
            return self.scale.phrases
        if "true_phrase" in self.frame and self.has_truth:
            known = self.frame[self.frame["true_phrase"] != ""]
            return [str(name) for name in known.groupby("true_phrase")["target"].mean().sort_values().index]
        return []

    @cached_property
    def levels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The predicted level and the true one of each image, (N,) each, -1 where unknown; None without levels.

        The predicted level is the most probable one, where the file says it; else that of the value.
        """
        names = pd.Index(self.phrases)
        if names.empty or "true_phrase" not in self.frame:
            return None
        if columns := probability_columns(self.frame):
            predicted = self.frame[columns].to_numpy("float64").argmax(axis=1)
        else:
            said = next((name for name in ("most_probable", "phrase") if name in self.frame), None)
            if said is None:
                return None
            predicted = names.get_indexer(self.frame[said])
        return predicted, names.get_indexer(self.frame["true_phrase"])

    @cached_property
    def confusion(self) -> NDArray[np.int64] | None:
        """How many images of each true level (rows) were read as each level, (K, K); None without levels."""
        if self.levels is None:
            return None
        predicted, true = self.levels
        both = (predicted >= 0) & (true >= 0)
        counts = np.zeros((len(self.phrases), len(self.phrases)), dtype=np.int64)
        np.add.at(counts, (true[both], predicted[both]), 1)
        return counts

    @cached_property
    def probabilities(self) -> NDArray[np.float64] | None:
        """The probability of each level, (N, K); None without them."""
        columns = probability_columns(self.frame)
        return self.frame[columns].to_numpy("float64") if columns else None

    @property
    def has_distributions(self) -> bool:
        """Whether the probabilities are there and have a sum of 1, as far as they are written."""
        return self.probabilities is not None and np.allclose(self.probabilities.sum(axis=1), 1, atol=_ROUNDED)

    @property
    def attributes(self) -> list[str]:
        """The columns of attributes, as the file has them."""
        return [name for name in self.frame.columns if name.startswith(ATTRIBUTE)]
