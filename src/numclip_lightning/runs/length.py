"""How long a fit takes: by the number of training images, and until validation stops improving."""

import logging
import math
from dataclasses import dataclass
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, EarlyStopping

from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.errors import ConfigError, refuse

__all__ = ["FitLength", "StopEarly", "epochs_for"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StopEarly:
    """When a fit stops before its end; the best checkpoint is kept and tested as ever.

    A schedule is planned for the whole training, so that a fit that stops early has not come down to its last rates.

    Args:
        patience: Stop after this many validations in a row without a lower `val_mae`, 1 or more; None never stops.
        min_delta: By how much it must be lower, in the target's unit.

    Raises:
        ConfigError: If an argument is out of its range.
    """

    patience: int | None = None
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.patience is not None and self.patience < 1:
            refuse(f"early_stopping.patience is {self.patience}; give 1 or more, or null for no early stop.")
        if not 0 <= self.min_delta < math.inf:
            refuse(f"early_stopping.min_delta is {self.min_delta}; give a number of 0 or more.")

    def callbacks(self) -> list[Callback]:
        """Return the callback, or none if a fit never stops early."""
        if self.patience is None:
            return []
        return [_WaitForTraining("val_mae", min_delta=self.min_delta, patience=self.patience, mode="min")]


class _WaitForTraining(EarlyStopping):
    """Lightning's callback, which does not lose patience within an epoch that trains nothing (`SolvedStart`)."""

    @property
    def state_key(self) -> str:
        """The name of its state in checkpoints, which is that of Lightning's."""
        return f"{EarlyStopping.__qualname__}{ {'monitor': self.monitor, 'mode': self.mode}!r}"

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count a validation; of several in such an epoch the last."""
        if not getattr(pl_module, "rests", False) or trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            super().on_validation_end(trainer, pl_module)


class FitLength(Callback):
    """Sets the epochs of a fit by the number of optimiser steps, before schedules are laid out.

    A list of 500 images and one of 50,000 need about the same number of steps. `trainer.max_epochs` stays the most
    epochs, whatever their steps.

    Args:
        steps: The optimiser steps that a fit takes at least, in whole epochs; None leaves it to the trainer.
        min_epochs: The fewest epochs, 1 or more.

    Raises:
        ConfigError: If an argument is out of its range.
    """

    def __init__(self, steps: int | None = None, min_epochs: int = 1) -> None:
        if steps is not None and steps < 1:
            raise ConfigError(f"length.steps is {steps}; give 1 or more, or null for trainer.max_epochs epochs.")
        if min_epochs < 1:
            raise ConfigError(f"length.min_epochs is {min_epochs}; give 1 or more.")
        self.steps = steps
        self.min_epochs = min_epochs
        self._most: float | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Set the trainer's epochs.

        Raises:
            ConfigError: If the trainer has no datamodule whose training images can be counted.
        """
        if stage != "fit" or self.steps is None:
            return
        data: Any = getattr(trainer, "datamodule", None)
        if not isinstance(data, OrdinalDataModule):
            raise ConfigError("length.steps counts the training images; fit with a datamodule of this project.")
        if self._most is None:
            # As the user gave it: a second fit has the limit of the first otherwise. -1 is no limit.
            most = trainer.max_epochs
            self._most = math.inf if most is None or most < 0 else most
        images = data.images_in_epoch()
        batches = math.ceil(math.ceil(images / trainer.world_size) / data.batch_size)
        per_epoch = math.ceil(_limited(batches, trainer.limit_train_batches) / trainer.accumulate_grad_batches)
        epochs = epochs_for(self.steps, per_epoch, self.min_epochs, self._most)
        trainer.fit_loop.max_epochs = epochs
        _log.info(
            "length: %d training images are %d steps an epoch; %d epochs, %d steps (length.steps=%d)",
            images, per_epoch, epochs, epochs * per_epoch, self.steps,
        )  # fmt: skip


def epochs_for(steps: int, steps_per_epoch: int, least: int, most: float) -> int:
    """Return the number of whole epochs that have a number of steps at least, within limits; the upper one counts.

    Args:
        steps: The steps of the training.
        steps_per_epoch: The steps of an epoch.
        least: The fewest epochs.
        most: The most epochs, which may be infinite.

    Example:
        >>> epochs_for(3000, 8, 10, 60), epochs_for(3000, 782, 10, 60), epochs_for(3000, 100, 10, 60)
        (60, 10, 30)
    """
    return int(min(max(math.ceil(steps / max(steps_per_epoch, 1)), least), most))


def _limited(batches: int, limit: int | float) -> int:
    """Return the batches of an epoch under `limit_train_batches`: an integer is their number, a float their share."""
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)
