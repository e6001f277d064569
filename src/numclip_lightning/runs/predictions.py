"""Writing predictions to CSV files while they are computed."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L

from numclip_lightning.data.base.datamodule import Split
from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.methods.base.types import Prediction
from numclip_lightning.runs.calibrating import Calibrate
from numclip_lightning.runs.on_scale import OnScale
from numclip_lightning.runs.prediction_writer import PredictionWriter, Unread, problem_of
from numclip_lightning.runs.rows import Row, RowsFile, is_finite
from numclip_lightning.runs.shares import of_all_processes
from numclip_lightning.runs.skipped import Skipped

__all__ = ["WritePredictions"]

_log = logging.getLogger(__name__)


class WritePredictions(PredictionWriter):
    """Writes predictions as CSV: path, value, phrase of the value, most probable phrase, probability of each level.

    The file of tested images has three more columns: the true number, the phrase of its level, and the error (value
    minus target), and `group` if the list has groups. If the checkpoint was selected on test images, a column
    `select_on` says `test`. A method with a distribution adds its `spread`, one with a distribution over values some
    quantiles, `q(0.05)` and others, lists with
    attributes `attribute_NAME` of each, and a run that is calibrated the ends of
    intervals and the phrases of sets, `lower`, `upper` and `phrases_in_set`.

    Rows are written after each batch, to `NAME.partP` beside the file for each process P. At the end they are joined
    in the order of the input. If a prediction is interrupted, the rows so far take the file's place.

    Args:
        predicted: The file for `predict`; its folder is created, an earlier file is replaced.
        tested: The file for `test`, likewise.
        calibrate: Knows the calibration of the run.
        on_scale: What adds columns that say whether an image is on the scale; None adds none.
    """

    def __init__(self, predicted: Path, tested: Path, calibrate: Calibrate, on_scale: OnScale | None = None) -> None:
        super().__init__(calibrate, on_scale)
        self.path = predicted
        self.tested = tested
        self._file: RowsFile | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Agree on the files, and refuse a folder as one, and fewer images than processes: Lightning can't divide them.

        Processes that were started separately have different names for the run folder; rows that one of them leaves
        behind are then found beside those of the others.

        Raises:
            ConfigError: If the file is a folder, or no file that can be put in place of another: a device, a pipe.
            DataError: If a process would have nothing to predict.
        """
        agreed = trainer.strategy.broadcast((str(self.path), str(self.tested)))
        self.path, self.tested = map(Path, agreed)
        if stage != "predict":
            return
        if self.path.is_dir():
            raise ConfigError(f"--output {self.path} is a folder; give the file to write.")
        if self.path.exists() and not self.path.is_file():
            raise ConfigError(f"--output {self.path} is a device or a pipe; give the file to write.")
        number = len(trainer.datamodule.labels("predict"))  # type: ignore[attr-defined]
        if number < trainer.world_size:
            raise DataError(
                f"{trainer.world_size} processes can't share {number} images; predict them with --trainer.devices=1."
            )

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the predictions of a batch."""
        self._take(trainer, pl_module, "test", Prediction(**outputs), None)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Join the rows of all processes."""
        self._finish(trainer, pl_module)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Join the rows of all processes."""
        self._finish(trainer, pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Keep the rows that were computed before an error."""
        file, self._file, self._rows = self._file, None, None
        if file is None:
            return
        rows = file.read()
        if trainer.world_size > 1 or file.path == self.tested:
            _log.warning("%d rows were computed before the error; they are kept in %s", len(rows), file.part)
            return
        file.finish(rows)
        file.discard()
        self._skipped.write(file.path)
        total = len(trainer.datamodule.labels("predict"))  # type: ignore[attr-defined]
        _log.warning(
            "%d of %d images were predicted before the error; their rows are kept in %s", len(rows), total, file.path
        )

    def _open(self, trainer: L.Trainer, split: Split, heading: list[str]) -> None:
        """Open the part of this process."""
        self._file = RowsFile(self.tested if split == "test" else self.path, heading, trainer.global_rank)

    def _append(self, rows: Iterable[Row], unread: Unread) -> None:
        """Write rows."""
        assert self._file is not None
        self._file.append(rows)

    def _finish(self, trainer: L.Trainer, method: Any) -> None:
        """Write the file, and remember what is wrong with it; all processes agree on that."""
        file, self._file, self._rows = self._file, None, None
        rows = file.read() if file else []
        gathered = of_all_processes((rows, self._skipped), trainer)
        rows = [row for part, _ in gathered for row in part]
        skipped, self._skipped = Skipped.joined([part for _, part in gathered]), Skipped()
        if file is None:
            return
        if trainer.is_global_zero:
            written = file.finish(rows)
            skipped.write(file.path)
            unit = f" in {method.scale.unit}" if method.scale.unit else ""
            _log.info("%d predictions written to %s (value%s, and its phrase)", written, file.path, unit)
        file.discard()
        wrong = [cells[0] for _, cells in rows if not is_finite(cells, file.heading)]
        self.problem = problem_of(len(wrong), len(rows), next(iter(wrong), ""), file.path, skipped)
