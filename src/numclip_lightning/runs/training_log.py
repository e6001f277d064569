"""What is logged of training steps besides the metrics: the rate of each part, the gradient norm, images per second."""

import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch.optim import Optimizer

from numclip_lightning.runs.non_finite import NonFiniteSteps

__all__ = ["LogTraining"]


class LogTraining(Callback):
    """Gives loggers what follows, every `trainer.log_every_n_steps` steps.

    - `lr/PART`: the learning rate of each part, whatever the optimiser is called, so that runs can be compared;
    - `grad_norm`: the L2 norm of all gradients before they are clipped, as `NonFiniteSteps` has seen it;
    - `images_per_second`: training images of all processes since the last such row, loading included, validation
      left out. The first step of a fit, in which libraries choose their kernels, is not counted.

    Args:
        steps: What looks at the gradients.
    """

    def __init__(self, steps: NonFiniteSteps) -> None:
        self._steps = steps
        self._rates: dict[str, float] = {}
        self._images = 0
        self._since = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock, also where a fit is resumed within an epoch, which Lightning does not begin again."""
        self._restart()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock again."""
        self._restart()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock again after a validation within an epoch."""
        self._restart()

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Remember the rates that the step is made with."""
        groups = optimizer.param_groups
        self._rates = {f"lr/{group.get('name', place)}": float(group["lr"]) for place, group in enumerate(groups)}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the images, and log if it is time."""
        if isinstance(batch, dict) and "target" in batch:
            self._images += len(batch["target"]) * trainer.world_size
        norm, self._steps.norm = self._steps.norm, None
        steps, done = trainer.log_every_n_steps, trainer.global_step - 1  # type: ignore[attr-defined]
        if not (steps and self._rates and done % steps == 0):
            return
        found = {**self._rates, "epoch": trainer.current_epoch}
        if norm is not None:
            found["grad_norm"] = norm
        seconds = time.monotonic() - self._since
        if done > 0 and self._images and seconds > 0:
            found["images_per_second"] = self._images / seconds
        # Between the steps of accumulated gradients no step is logged again.
        self._rates = {}
        for logger in trainer.loggers:
            logger.log_metrics(found, step=done)
        self._restart()

    def _restart(self) -> None:
        self._images, self._since = 0, time.monotonic()
