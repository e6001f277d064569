"""From batches of predictions to rows, with all that a run knows of its images: what every writer of them shares."""

from collections.abc import Iterable
from typing import Any

import lightning as L

from numclip_lightning.data.base.datamodule import Split
from numclip_lightning.methods.base.types import Prediction
from numclip_lightning.runs.calibrating import Calibrate
from numclip_lightning.runs.calibration import INTERVAL_COLUMNS, with_intervals
from numclip_lightning.runs.folder import selected_on
from numclip_lightning.runs.on_scale import OnScale
from numclip_lightning.runs.rows import Layout, Row, columns, rows_of, shares_of

__all__ = ["RowMaker"]


class RowMaker:
    """Makes the rows of a split.

    Args:
        trainer: The trainer of the run.
        method: The method that predicts.
        split: `test` or `predict`.
        first: The first batch, which shows what the method gives.
        calibrate: Knows the calibration of the run.
        on_scale: What adds columns that say whether an image is on the scale; None adds none.
    """

    def __init__(
        self,
        trainer: L.Trainer,
        method: Any,
        split: Split,
        first: Prediction,
        calibrate: Calibrate,
        on_scale: OnScale | None,
    ) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self.labels = labels = data.labels(split)
        grouped = split == "test" and any(label.group is not None for label in labels)
        spread = bool(first.spread.isfinite().any())
        on_test, shares = selected_on(trainer) == "test", shares_of(method, [first])
        self._layout = Layout(split == "test", grouped, on_test, spread, labels.attributes, shares)
        self._scale, self._calibration, self._on_scale = method.scale, calibrate.calibration, on_scale

    @property
    def heading(self) -> list[str]:
        """The columns."""
        added = [*(INTERVAL_COLUMNS if self._calibration else []), *(self._on_scale.columns if self._on_scale else [])]
        return [*columns(self._scale, self._layout), *added]

    def rows(self, batch: Prediction) -> Iterable[Row]:
        """Return the rows of a batch."""
        rows: Iterable[Row] = rows_of(batch, self.labels, self._scale, self._layout)
        if self._calibration:
            rows = with_intervals(rows, columns(self._scale, self._layout), self._calibration)
        return self._on_scale.with_cells(rows, batch) if self._on_scale else rows
