"""A training that has diverged is stopped and reported: no checkpoint of NaN is kept as a result."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from numclip_lightning.errors import RunError
from numclip_lightning.runs.endings import kept_files
from numclip_lightning.runs.folder import run_folder

__all__ = ["StopDiverged"]

_EVERY = 50


class StopDiverged(Callback):
    """Stops a fit whose loss or parameters are no longer finite, before a checkpoint of them is kept.

    The loss is looked at in every step on its device, and read, with the parameters, every `log_every_n_steps` steps
    and before each validation. With `16-mixed`, where steps with a loss that is not finite are skipped, only parameters
    count.
    """

    def __init__(self) -> None:
        self._first: Tensor | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget what was seen in an earlier fit."""
        self._first = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the first step whose loss is not finite.

        Raises:
            RunError: If the loss or a parameter is not finite.
        """
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and str(trainer.precision) != "16-mixed":
            # Kept where it was computed: reading it here would make every step wait for the device.
            step = torch.where(loss.detach().isfinite().all(), -1, trainer.global_step)
            self._first = step if self._first is None else torch.where(self._first >= 0, self._first, step)
        # 0 switches logging off.
        if trainer.global_step % (trainer.log_every_n_steps or _EVERY) == 0:  # type: ignore[attr-defined]
            self._check(trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check the last steps of an epoch without validation."""
        self._check(trainer, pl_module)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check before checkpoints are kept."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._check(trainer, pl_module)

    def _check(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        first = -1 if self._first is None else int(self._first)
        broken = [] if first >= 0 else _not_finite(pl_module)
        if first < 0 and not broken:
            return
        step = f"step {first if first >= 0 else trainer.global_step} (epoch {trainer.current_epoch})"
        what = f"the loss is not finite since {step}" if first >= 0 else f"{broken[0]} is not finite at {step}"
        rates = "lower model.learning_rates, set trainer.gradient_clip_val=1"
        precision = str(trainer.precision)
        if precision != "32-true":
            rates += f", or set trainer.precision=32-true (it is {precision})"
        raise RunError(
            f"the training has diverged: {what}. Likely causes are learning rates that are too high for these data, or "
            f"the precision: {rates}.\n{kept_files(run_folder(trainer))}"
        )


def _not_finite(module: torch.nn.Module) -> list[str]:
    """Return the names of the parameters with a value that is not finite."""
    named = [(name, parameter.detach()) for name, parameter in module.named_parameters() if parameter.numel()]
    if not named:
        return []
    finite = torch.stack([parameter.isfinite().all() for _, parameter in named])
    return [name for (name, _), good in zip(named, finite.tolist(), strict=True) if not good]
