"""Writing predictions to CSV files."""

import csv
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from numclip_lightning.data.base.datamodule import Split
from numclip_lightning.data.base.labels import LabelTable
from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.methods.base.types import Prediction
from numclip_lightning.runs.folder import selected_on
from numclip_lightning.scale import OrdinalScale

__all__ = ["WritePredictions"]

_log = logging.getLogger(__name__)


class WritePredictions(Callback):
    """Writes predictions as CSV: path, value, phrase of the most probable level, probability of each level.

    The file of tested images has two more columns: the true number and the phrase of its level. If the checkpoint was
    selected on test images, a last column `select_on` says `test`.

    Args:
        predicted: The file for `predict`; its folder is created, an earlier file is replaced.
        tested: The file for `test`, likewise.
    """

    def __init__(self, predicted: Path, tested: Path) -> None:
        self.path = predicted
        self.tested = tested
        self._batches: list[Prediction] = []

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuse a folder as a file, and fewer images than processes, which Lightning can't divide.

        Raises:
            ConfigError: If the file is a folder.
            DataError: If a process would have nothing to predict.
        """
        if stage != "predict":
            return
        if self.path.is_dir():
            raise ConfigError(f"--output {self.path} is a folder; give the file to write.")
        number = len(trainer.datamodule.labels("predict"))  # type: ignore[attr-defined]
        if number < trainer.world_size:
            raise DataError(
                f"{trainer.world_size} processes can't share {number} images; predict them with --trainer.devices=1."
            )

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the predictions of a batch."""
        self._batches.append(Prediction(*(tensor.cpu() for tensor in outputs)))

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the predictions of a batch."""
        self.on_predict_batch_end(trainer, pl_module, Prediction(**outputs), batch, batch_idx, dataloader_idx)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gather from all processes and write, in the order of the input."""
        self._finish(trainer, pl_module, "predict", self.path)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gather from all processes and write, in the order of the test list."""
        self._finish(trainer, pl_module, "test", self.tested)

    def _finish(self, trainer: L.Trainer, method: Any, split: Split, path: Path) -> None:
        batches = self._batches
        if trainer.world_size > 1:
            gathered: list[list[Prediction]] = [[] for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(gathered, batches)
            batches = [batch for part in gathered for batch in part]
        self._batches = []
        if trainer.is_global_zero:
            rows = _rows(batches, trainer.datamodule.labels(split), method.scale, targets=split == "test")  # type: ignore[attr-defined]
            if selected_on(trainer) == "test":
                rows = [[*row, "test" if i else "select_on"] for i, row in enumerate(rows)]
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(rows)
            _log.info("%d predictions written to %s", len(rows) - 1, path)


def _rows(batches: Sequence[Prediction], labels: LabelTable, scale: OrdinalScale, *, targets: bool) -> list[list[str]]:
    """Return the rows of the file, the heading first, each image once."""
    phrases = scale.phrases
    heading = ["path", "value", "phrase", *(f"p({phrase})" for phrase in phrases)]
    rows = {}
    for batch in batches:
        for index, value, level, probabilities in zip(*(tensor.tolist() for tensor in batch), strict=True):
            row = [labels[index].path, f"{value:.6g}", phrases[level], *(f"{p:.6g}" for p in probabilities)]
            if targets:
                target = labels[index].target
                row[1:1] = [f"{target:.6g}", phrases[int(scale.to_level(target))]]
            rows[index] = row
    if targets:
        heading[1:1] = ["target", "true_phrase"]
    return [heading, *(rows[index] for index in sorted(rows))]
