"""A training that has diverged is stopped and reported: no checkpoint of NaN is kept as a result."""

from collections import deque
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from numclip_lightning.errors import RunError
from numclip_lightning.runs.endings import kept_files
from numclip_lightning.runs.folder import run_folder
from numclip_lightning.runs.non_finite import NonFiniteSteps, images_of

__all__ = ["StopDiverged"]

_EVERY = 50


class StopDiverged(Callback):
    """Stops a fit whose loss or parameters are no longer finite, before a checkpoint of them is kept.

    The loss is looked at in every step on its device, and read, with the parameters, every `log_every_n_steps` steps
    and before each validation. With `16-mixed` and `on_non_finite=skip`, where steps with a loss that is not finite are
    left out, only parameters count.
    """

    def __init__(self) -> None:
        self._first: Tensor | None = None
        self._recent: deque[tuple[int, Any]] = deque(maxlen=_EVERY)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget what was seen in an earlier fit."""
        self._first = None
        self._recent = deque(maxlen=(trainer.log_every_n_steps or _EVERY) + 1)  # type: ignore[attr-defined]

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the first step whose loss is not finite.

        Raises:
            RunError: If the loss or a parameter is not finite.
        """
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(batch, dict) and "index" in batch:
            self._recent.append((trainer.global_step, batch["index"]))
        if isinstance(loss, Tensor) and not _leaves_out(trainer):
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
        images = [index for number, index in self._recent if number == first]
        shown = f" Images of this batch: {'; '.join(images_of(trainer, images))}." if images else ""
        raise RunError(
            f"the training has diverged: {what}.{shown} Likely causes are learning rates that are too high for these "
            f"data, or the precision: {rates}.\n{kept_files(run_folder(trainer))}"
        )


def _leaves_out(trainer: L.Trainer) -> bool:
    """Return whether steps that are not finite are left out, so that training goes on after them."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    skips = any(isinstance(callback, NonFiniteSteps) and callback.mode == "skip" for callback in callbacks)
    return skips or str(trainer.precision) == "16-mixed"


def _not_finite(module: torch.nn.Module) -> list[str]:
    """Return the names of the parameters with a value that is not finite."""
    named = [(name, parameter.detach()) for name, parameter in module.named_parameters() if parameter.numel()]
    if not named:
        return []
    finite = torch.stack([parameter.isfinite().all() for _, parameter in named])
    return [name for (name, _), good in zip(named, finite.tolist(), strict=True) if not good]
