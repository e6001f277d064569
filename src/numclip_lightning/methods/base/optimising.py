"""Shared steps with the optimiser and the schedule that the arguments name."""

import math
from abc import abstractmethod
from collections.abc import Iterable
from itertools import product
from typing import Any

from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.optimisers import (
    Interval,
    OptimizerSpec,
    SchedulerSpec,
    build_optimizer,
    build_scheduler,
)
from numclip_lightning.methods.base.second_order import (
    asks_for_hessian,
    backward_twice,
    check_second_order,
    twice_differentiable,
)
from numclip_lightning.methods.base.towers import TowerSteps
from numclip_lightning.methods.base.types import Batch
from numclip_lightning.models.layers import image_layers

__all__ = ["OptimisedSteps"]


class OptimisedSteps(TowerSteps):
    """Shared steps whose parts are trained as the arguments say; `OrdinalMethod` has these as fields."""

    optimizer: OptimizerSpec
    lr_scheduler: SchedulerSpec | None

    @abstractmethod
    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters, sorted into the parts that `LearningRates` names."""

    def training_length(self, interval: Interval) -> int:
        """Return the length of the training in epochs or optimiser steps.

        Raises:
            ConfigError: If the training has no end.
        """
        if interval == "step":
            length, fix = self.trainer.estimated_stepping_batches, "trainer.max_epochs or trainer.max_steps"
        else:
            epochs, fix = self.trainer.max_epochs, "trainer.max_epochs, or lr_scheduler.interval=step"
            length = -1 if epochs is None else epochs
        if length == math.inf or length < 0:
            raise ConfigError(f"a schedule, or a training in stages, needs to know its end: set {fix}.")
        return int(length)

    def on_train_start(self) -> None:
        """Refuse to resume a schedule that was planned for a shorter training.

        Raises:
            ConfigError: If the checkpoint's schedule ends before this training does.
        """
        if self.lr_scheduler is None:
            return
        duration = self.training_length(self.lr_scheduler.interval)
        # A schedule that has ended stops with an error (OneCycleLR), or climbs again (CosineAnnealingLR).
        lengths = [name for name in ("total_steps", "T_max") if name not in self.lr_scheduler.args]
        for schedule, name in product(self.trainer.lr_scheduler_configs, lengths):
            planned = getattr(schedule.scheduler, name, duration)
            if planned < duration:
                raise ConfigError(
                    f"the checkpoint's {self.lr_scheduler.name} was planned for {planned} "
                    f"{self.lr_scheduler.interval}s, this training takes {duration}; resume with the length it had, "
                    "or start a new fit (docs/howto/resume.md: train longer)."
                )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch, twice differentiable if the optimiser asks for it."""
        with twice_differentiable(asks_for_hessian(self.optimizer.find())):
            return super().training_step(batch, batch_idx)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute the gradients, twice differentiable if the optimiser asks for it."""
        if asks_for_hessian(self.optimizer.find()):
            backward_twice(loss, self.parameters())
        else:
            super().backward(loss, *args, **kwargs)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser, with a group for each trained part, and the schedule.

        Raises:
            ConfigError: If nothing is left to train, or the trainer changes gradients that are differentiated again.
        """
        if asks_for_hessian(self.optimizer.find()):
            check_second_order(self.optimizer.name, self.trainer)
        parts = {part: list(parameters) for part, parameters in self.parts().items()}
        optimizer = build_optimizer(self.optimizer, parts, self.learning_rates, self._image_layers())
        if self.lr_scheduler is None:
            return optimizer
        interval = self.lr_scheduler.interval
        scheduler = build_scheduler(self.lr_scheduler, optimizer, self.training_length(interval))
        # ReduceLROnPlateau reads the monitor, the others don't.
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": interval, "monitor": "val_mae"},
        }

    def _image_layers(self) -> list[list[nn.Parameter]]:
        """Return the parameters of the image tower by layer, if their rates differ."""
        if self.learning_rates.layer_decay == 1 or not self.learning_rates.image_encoder:
            return []
        named = dict(self.clip.visual.named_parameters())
        return [[named[name] for name in names] for names in image_layers(self.clip.visual).values()]
