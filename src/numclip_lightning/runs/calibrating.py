"""The calibration of a run: found on the validation of its best epoch, kept beside the checkpoint, used afterwards."""

import logging
import shutil
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from numclip_lightning.calibration import (
    CALIBRATION,
    Calibration,
    Choices,
    Intervals,
    LevelValues,
    Sets,
    read_calibration,
    write_calibration,
)
from numclip_lightning.calibration.answers import BY_LEVEL
from numclip_lightning.calibration.temperature import TemperatureBy
from numclip_lightning.errors import ConfigError, NumClipError
from numclip_lightning.methods.base.types import Prediction
from numclip_lightning.runs.calibration import calibrate_rows, describe, read_rows
from numclip_lightning.runs.checkpoints import best_checkpoint
from numclip_lightning.runs.folder import is_better, metrics_of, run_folder, selected_on
from numclip_lightning.runs.rows import Layout, RowsFile, columns, rows_of, shares_of
from numclip_lightning.runs.shares import of_all_processes
from numclip_lightning.scale import OrdinalScale
from numclip_lightning.scale.spread import SHARES

__all__ = ["VALIDATION", "Calibrate"]

_log = logging.getLogger(__name__)

VALIDATION = "validation_predictions.csv"


class Calibrate(Callback):
    """Says how sure a number is: intervals and sets of phrases that hold the truth for a chosen share of new images.

    A fit keeps the predictions of its best epoch on the validation images, at no further cost, and writes them
    (`validation_predictions.csv`) with what follows from them (`calibration.json`). So does `numclip validate`, and a
    test of a method that learns nothing. A test or prediction of the checkpoint then has intervals. `docs/trust.md`
    says what they mean and when they fail.

    Args:
        coverage: The share of new images whose true number shall lie in its interval; null writes no intervals.
        intervals: `normalised` follows the image's own spread, `absolute` is as wide for every image, `quantiles`
            stretches or shrinks quantiles of the image's distribution.
        sets: How sets of phrases are chosen: the `shortest` that are probable enough, or by the `rps`.
        by: Groups that each shall have the coverage: `level` (the true level) or a column of the predictions, such as
            `group` or `phrase`.
        temperature: The score that the temperature of the probabilities is chosen by, `nll` or `rps`.
        file: The `calibration.json` for a test or prediction; null takes that of the checkpoint's run.

    Attributes:
        calibration: What the run has found, or was given; None before, and where there is none.

    Raises:
        ConfigError: If an argument is unknown or out of range.
    """

    def __init__(
        self,
        coverage: float | None = 0.9,
        intervals: Intervals = "normalised",
        sets: Sets = "shortest",
        by: str | None = None,
        temperature: TemperatureBy = "nll",
        file: str | None = None,
    ) -> None:
        share = 0.5 if coverage is None else coverage
        choices = Choices(coverage=share, intervals=intervals, sets=sets, by=by, temperature=temperature)
        self.choices = None if coverage is None else choices
        self.file = file
        self.checkpoint: str | None = None
        self.calibration: Calibration | None = None
        self._best: dict[str, float] = {}
        self._held: list[Prediction] = []

    def state_dict(self) -> dict[str, Any]:
        """Keep the metrics of the best epoch in checkpoints: a resumed fit goes on from it."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best epoch before a training was resumed."""
        self._best = state_dict["best"]

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Find the calibration of a checkpoint that is tested or predicted with.

        Raises:
            ConfigError: If it can't be used, or is of another scale.
        """
        method: Any = pl_module
        if self.choices and hasattr(method, "shares"):
            method.shares = sorted({*SHARES, *self.choices.tails})
        if stage == "fit":
            self.calibration, self._held = None, []
        elif stage in ("test", "predict") and self.choices and self.calibration is None:
            self.calibration = self._find(pl_module)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse groups that predictions don't have.

        Raises:
            ConfigError: If `by` names no column.
        """
        labels = getattr(getattr(trainer, "datamodule", None), "labels", None)
        if (
            labels is None
            or self.choices is None
            or self.choices.by in (None, BY_LEVEL)
            or _is_selected_on_test(trainer)
        ):
            return
        known = columns(_scale(pl_module), self._layout(labels("val")))
        if self.choices.by not in known:
            raise ConfigError(
                f"calibration.by is {self.choices.by!r}, which is no column of predictions; give level (the true one), "
                f"or one of {', '.join(known)}."
            )

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget a best epoch whose checkpoint is gone."""
        if not getattr(best_checkpoint(trainer), "best_model_path", ""):
            self._best = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the predictions of the best epoch; after `numclip validate`, calibrate."""
        if trainer.sanity_checking or self.choices is None:
            return
        metrics, keeper = metrics_of(trainer, "val_"), best_checkpoint(trainer)
        if trainer.state.fn == "fit" and keeper and not is_better(metrics, self._best, keeper):
            return
        self._best = metrics
        validated: Any = getattr(pl_module, "validated", [])
        self._held = [Prediction(*(tensor.cpu() for tensor in batch)) for batch in validated]
        if trainer.state.fn == "validate":
            self._finish(trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the predictions of the best epoch, and calibrate."""
        if self.choices is not None:
            self._finish(trainer, pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Calibrate the best checkpoint of a fit that was stopped too; several processes may not all be there."""
        best: str = getattr(best_checkpoint(trainer), "best_model_path", "")
        if best and self._held and trainer.state.fn == "fit" and trainer.world_size == 1:
            self._finish(trainer, pl_module)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the calibration beside the tested predictions, for reports."""
        folder = run_folder(trainer)
        if self.calibration and trainer.is_global_zero and not (folder / CALIBRATION).is_file():
            write_calibration(folder, self.calibration)

    def _finish(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write and calibrate; a fit that has ended well never fails for want of an interval."""
        if _is_selected_on_test(trainer):
            _log.info("no intervals: with data.select_on=test there are no validation images to find them on")
            return
        path = self._write(trainer, pl_module)
        found = self._calibrated(path, _scale(pl_module)) if trainer.is_global_zero else None
        # The other processes may not see the files of the first.
        self.calibration = trainer.strategy.broadcast(found)

    def _calibrated(self, path: Path, scale: OrdinalScale) -> Calibration | None:
        if not path.is_file():
            _log.info("no intervals: there are no predictions of validation images to find them on")
            return None
        try:
            found = self._calibrate(path, scale)
        except NumClipError as error:
            _log.warning("no intervals: %s", error)
            return None
        write_calibration(path.parent, found)
        describe(found)
        return found

    def _write(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Path:
        """Write the predictions of the best epoch, if there are any; return their place."""
        path = run_folder(trainer) / VALIDATION
        held, self._held = self._held, []
        data: Any = getattr(trainer, "datamodule", None)
        if data is None:
            return path
        scale, labels = _scale(pl_module), data.labels("val")
        spread = any(bool(batch.spread.isfinite().any()) for batch in held)
        layout = self._layout(labels)._replace(spread=spread, shares=shares_of(pl_module, held))
        rows = [row for batch in held for row in rows_of(batch, labels, scale, layout)]
        # A process may have had no image: all of them take part nevertheless.
        gathered = of_all_processes((rows, layout), trainer)
        rows = [row for part, _ in gathered for row in part]
        known = [found for _, found in gathered]
        layout = layout._replace(
            spread=any(found.spread for found in known), shares=max((found.shares for found in known), key=len)
        )
        if trainer.is_global_zero and rows:
            file = RowsFile(path, columns(scale, layout), 0)
            file.finish(rows)
            file.discard()
        elif trainer.is_global_zero:
            # Resumed, and no epoch was better: the best one is in the folder of the fit before.
            best = Path(getattr(best_checkpoint(trainer), "best_model_path", "") or str(path))
            before = next((folder / VALIDATION for folder in best.parents[:2] if (folder / VALIDATION).is_file()), path)
            if before != path:
                shutil.copy(before, path)
        return path

    def _layout(self, labels: Any) -> Layout:
        grouped = any(label.group is not None for label in labels)
        return Layout(targets=True, groups=grouped, spread=True, attributes=labels.attributes)

    def _calibrate(self, path: Path, scale: OrdinalScale) -> Calibration:
        heading, rows = read_rows(path)
        assert self.choices is not None
        return calibrate_rows(rows, heading, scale, self.choices, split="val", file=path.name)

    def _find(self, pl_module: L.LightningModule) -> Calibration | None:
        """Return the calibration that was given, or that of the checkpoint's run; found again if other choices are."""
        scale = _scale(pl_module)
        if self.file:
            return _of_scale(read_calibration(Path(self.file)), scale, self.file)
        folders = Path(self.checkpoint).absolute().parents[:2] if self.checkpoint else []
        folder = next((place for place in folders if (place / CALIBRATION).is_file()), None)
        if folder is None:
            _log.info(
                "no intervals: %s; numclip validate finds them on the validation images of a configuration, and "
                "--calibration.file=RUN/calibration.json gives them here",
                "the run of this checkpoint has no calibration"
                if folders
                else "a method that was never fitted has no calibration of its own",
            )
            return None
        found = _of_scale(read_calibration(folder), scale, str(folder))
        if found and found.choices != self.choices and (folder / VALIDATION).is_file():
            found = self._calibrate(folder / VALIDATION, scale)
        return found


def _scale(pl_module: Any) -> OrdinalScale:
    scale: OrdinalScale = pl_module.scale
    return scale


def _is_selected_on_test(trainer: L.Trainer) -> bool:
    return selected_on(trainer) == "test"


def _of_scale(found: Calibration | None, scale: OrdinalScale, where: str) -> Calibration | None:
    """Refuse a calibration of another scale."""
    if found is None:
        return None
    if found.values not in (None, LevelValues.of(scale)) or list(found.phrases) not in ([], scale.phrases):
        raise ConfigError(f"the calibration of {where} is of another scale; give that of this method's run.")
    return found
