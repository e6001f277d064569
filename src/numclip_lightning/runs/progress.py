"""Progress of a run: a bar on a terminal, a line for each epoch and half minute in a log."""

import math
import sys
import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Timer, TQDMProgressBar
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from numclip_lightning.progress import in_words

__all__ = ["Progress"]

_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_BETWEEN_LOSSES = 0.5


class Progress(TQDMProgressBar):
    """Lightning's bar with the loss, the validation error and the time that is left; plain lines in a log.

    Lightning's own bar has the time that is left of an epoch; here it is that of the whole fit, too. It is the same
    whatever else is installed: Lightning takes another bar where it finds `rich`. In a file a bar would leave a line
    for every step.
    """

    def __init__(self) -> None:
        super().__init__(leave=True)
        self._in_lines = not sys.stdout.isatty()
        self._loss: Tensor | None = None
        self._losses, self._steps = torch.zeros(()), 0
        self._shown: float | None = None
        self._read = -math.inf
        self._spoken = time.monotonic()
        self._began = self._evaluated = time.monotonic()
        self._done_before = 0
        if self._in_lines:
            self.disable()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock; a resumed fit has done a part before."""
        super().on_train_start(trainer, pl_module)
        self._began, self._done_before = time.monotonic(), _batches_done(trainer)
        if trainer.fit_loop.restarted_mid_epoch:
            # Lightning begins no epoch where a fit is resumed within one: its bar would have no name and no end.
            self.on_train_epoch_start(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, *args: Any) -> None:
        """Begin the mean of the epoch's losses."""
        super().on_train_epoch_start(trainer, *args)
        self._losses, self._steps = torch.zeros(()), 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss for whenever it is shown: to read it now would wait for the device."""
        found = outputs.get("loss") if isinstance(outputs, dict) else outputs
        self._loss = found.detach() if isinstance(found, Tensor) else None
        if self._loss is not None:
            self._losses, self._steps = self._losses.to(self._loss.device) + self._loss, self._steps + 1
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        epoch = f"epoch {trainer.current_epoch + 1}"
        self._say_how_far(trainer, epoch, batch_idx, trainer.num_training_batches, self._left(trainer))

    def on_validation_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        """Show how far the validation is."""
        super().on_validation_batch_end(trainer, *args, **kwargs)
        self._say_evaluated(trainer, "validation", args, trainer.num_val_batches)

    def on_test_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        """Show how far the test is."""
        super().on_test_batch_end(trainer, *args, **kwargs)
        self._say_evaluated(trainer, "test", args, trainer.num_test_batches)

    def on_predict_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        """Show how far the prediction is."""
        super().on_predict_batch_end(trainer, *args, **kwargs)
        self._say_evaluated(trainer, "prediction", args, trainer.num_predict_batches)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show what the epoch has brought: the mean of its losses, and what is logged for the bar."""
        super().on_train_epoch_end(trainer, pl_module)
        if self._speaks(trainer):
            found = self.get_metrics(trainer, pl_module)
            if self._steps:
                found["loss"] = float(self._losses) / self._steps
            left = f"; {found.pop('left')} left" if "left" in found else ""
            shown = ", ".join(f"{name} {value:.4g}" for name, value in found.items()) + left
            last = f" of {trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
            self._say(f"epoch {trainer.current_epoch + 1}{last}: {shown}")

    def _left(self, trainer: L.Trainer) -> str:
        """Return how long the fit goes on at the pace so far, in words; empty if that is not known, or it is over."""
        done = _batches_done(trainer) - self._done_before
        if done < 1:
            return ""
        seconds = _seconds_left(trainer, (time.monotonic() - self._began) / done)
        if not 1 <= seconds < math.inf:
            return ""
        # When validation stops to improve is not known before.
        return f"{'at most ' if trainer.early_stopping_callbacks else ''}{in_words(seconds)}"

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """Return the loss of a step of late and what is logged for the bar, without the logger's version."""
        shown = {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}
        # A bar asks in every step, and reading the loss waits for the device.
        if self._loss is not None and time.monotonic() - self._read >= _SECONDS_BETWEEN_LOSSES:
            self._shown, self._read = float(self._loss), time.monotonic()
        left = self._left(trainer) if trainer.training else ""
        return {
            **({} if self._shown is None else {"loss": self._shown}),
            **shown,
            **({"left": left} if left else {}),
        }

    def _say_evaluated(self, trainer: L.Trainer, what: str, args: tuple[Any, ...], totals: Any) -> None:
        """Say how far an evaluation is; `args` are those of Lightning's hook, after the trainer."""
        batch_idx, dataloader_idx = args[3], args[4] if len(args) > 4 else 0
        total = totals[dataloader_idx] if isinstance(totals, list) else totals
        if batch_idx == 0:
            # The first batch waits for the loading processes, and says nothing of the pace.
            self._evaluated = time.monotonic()
        pace = (time.monotonic() - self._evaluated) / max(batch_idx, 1)
        left = in_words(pace * (total - batch_idx - 1)) if batch_idx and total < math.inf else ""
        self._say_how_far(trainer, what, batch_idx, total, left)

    def _say_how_far(self, trainer: L.Trainer, what: str, batch_idx: int, total: float, left: str) -> None:
        if self._speaks(trainer) and time.monotonic() - self._spoken > _SECONDS_BETWEEN_LINES:
            self._say(f"{what}: {batch_idx + 1} of {total} batches{f'; {left} left' if left else ''}")

    def _speaks(self, trainer: L.Trainer) -> bool:
        return self._in_lines and trainer.is_global_zero and not trainer.sanity_checking

    def _say(self, line: str) -> None:
        print(line, flush=True)  # noqa: T201
        self._spoken = time.monotonic()


def _batches_done(trainer: L.Trainer) -> int:
    """Return how many training batches a fit has done, those before it was resumed among them."""
    return int(trainer.fit_loop.epoch_loop.total_batch_idx) + 1


def _seconds_left(trainer: L.Trainer, pace: float) -> float:
    """Return for how long a fit goes on unless it stops early, by its epochs, its steps or `trainer.max_time`.

    Args:
        trainer: The trainer of the fit.
        pace: Seconds of a training batch, validation included.

    Returns:
        Seconds; infinite without an end that is known.
    """
    done, accumulated, batches = _batches_done(trainer), trainer.accumulate_grad_batches, trainer.num_training_batches
    epochs = math.inf if trainer.max_epochs is None or trainer.max_epochs < 0 else trainer.max_epochs
    steps = math.inf if trainer.max_steps < 0 else trainer.max_steps * accumulated
    whole = pace * (min(epochs * batches, steps) - done)
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
    limits = [limit for timer in timers if (limit := timer.time_remaining()) is not None]
    # No limit ends a fit before its least epochs and steps.
    least = pace * (max((trainer.min_epochs or 0) * batches, (trainer.min_steps or 0) * accumulated) - done)
    return min(whole, max(min(limits, default=math.inf), least))
