"""What all writers of predictions do with a batch, and what they say of the rows in the end."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter, Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from numclip_lightning.data.base.datamodule import Split
from numclip_lightning.errors import RunError
from numclip_lightning.methods.base.types import Prediction
from numclip_lightning.runs.calibrating import Calibrate
from numclip_lightning.runs.on_scale import OnScale
from numclip_lightning.runs.row_maker import RowMaker
from numclip_lightning.runs.rows import Row
from numclip_lightning.runs.skipped import Skipped

__all__ = ["PredictionWriter", "Unread", "problem_of", "raise_problem"]

Unread = dict[int, tuple[str, str]]
"""The path and the reason of each image that could not be read, by its index."""


class PredictionWriter(Callback):
    """Base class of the callbacks that write predictions.

    Args:
        calibrate: Knows the calibration of the run.
        on_scale: What adds columns that say whether an image is on the scale; None adds none.

    Attributes:
        problem: What is wrong with the rows that were written last; None if nothing is.
    """

    def __init__(self, calibrate: Calibrate, on_scale: OnScale | None) -> None:
        self.problem: RunError | None = None
        self.calibrate, self._on_scale = calibrate, on_scale
        # None until the first batch of a split.
        self._rows: RowMaker | None = None
        self._skipped = Skipped()

    @abstractmethod
    def _open(self, trainer: L.Trainer, split: Split, heading: list[str]) -> None:
        """Open what the rows of a split go to, with these columns."""

    @abstractmethod
    def _append(self, rows: Iterable[Row], unread: Unread) -> None:
        """Write the rows of a batch, and keep in mind which of its images could not be read."""

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the predictions of a batch.

        Raises:
            DataError: If more images can't be read than may be.
            SIGTERMException: If the run was asked to end; Lightning looks for that in fits alone.
        """
        self._take(trainer, pl_module, "predict", Prediction(*outputs), batch.get("readable"))
        loader: Any = trainer.predict_dataloaders
        if not any(isinstance(callback, BasePredictionWriter) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            # Lightning keeps the index of every image for such callbacks.
            getattr(loader.batch_sampler, "seen_batch_indices", []).clear()
        if trainer.received_sigterm:
            raise SIGTERMException

    def _take(self, trainer: L.Trainer, method: Any, split: Split, batch: Prediction, readable: Tensor | None) -> None:
        """Write the rows of a batch, without those of images that could not be read."""
        if self._rows is None:
            self._rows = RowMaker(trainer, method, split, batch, self.calibrate, self._on_scale)
            self._open(trainer, split, self._rows.heading)
        unread: Unread = {}
        if readable is not None:
            # The dataset of the loader: to build another one, every image of the list would be looked up again.
            loader: Any = trainer.predict_dataloaders
            unread = self._skipped.add(loader.dataset, batch.index[~readable].tolist())
            batch = Prediction(*(tensor[readable] for tensor in batch))
        self._append(self._rows.rows(batch), unread)
        # Afterwards, so that the rows of this batch are kept.
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._skipped.refuse_many(len(self._rows.labels), getattr(data, "max_bad_fraction", 1.0))


def problem_of(not_finite: int, total: int, first: str, place: Any, skipped: Skipped) -> RunError | None:
    """Return what is wrong with rows that were written: values that are not finite, or images that were skipped.

    Args:
        not_finite: How many values are not.
        total: Of how many rows.
        first: The path of the first of them.
        place: Where the rows are.
        skipped: The images that were skipped.
    """
    if not_finite:
        return RunError(
            f"{not_finite} of {total} predicted values are not finite (NaN or infinite), first that of {first}; the "
            f"rows are in {place}. The training of this checkpoint may have diverged, or the precision "
            "(trainer.precision) may be too low."
        )
    return RunError(skipped.message(place, total), exit_code=3) if skipped else None


def raise_problem(trainer: L.Trainer) -> None:
    """Raise what is wrong with the predictions that a trainer has written, when all else is done.

    Raises:
        RunError: If values are not finite, or images were skipped.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, PredictionWriter) and callback.problem:
            raise callback.problem
