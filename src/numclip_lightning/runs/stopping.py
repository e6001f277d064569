"""Stopping from outside: SIGTERM, Ctrl-C and SLURM's signal end a fit at the end of a step, with a checkpoint."""

import hashlib
import logging
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from numclip_lightning.errors import RunError

__all__ = ["StopOnSignals", "StoppedError", "requeue", "slurm_job", "stop_request"]

_log = logging.getLogger(__name__)

_NAMES: dict[int, str] = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGUSR1: "SLURM's SIGUSR1"}


class StoppedError(RunError):
    """A fit that was asked to stop, and has saved its state.

    Args:
        number: The signal.
        checkpoint: What a fit goes on from.
        queued: Whether SLURM was asked to start the job again.

    Attributes:
        by: What users call the signal.
    """

    def __init__(self, number: int, checkpoint: Path, *, queued: bool = False) -> None:
        self.by = _NAMES.get(number, signal.Signals(number).name)
        self.checkpoint = checkpoint
        self.queued = queued
        super().__init__(f"the fit was stopped by {self.by}; what it had reached is in {checkpoint}", 128 + number)


class StopOnSignals(Callback):
    """Remembers that a signal has asked the fit to stop; the checkpoint callback saves and stops at the end of a step.

    Lightning stops after Ctrl-C wherever it finds the program, in the middle of a step too, where nothing can be saved
    that a fit could go on from; after SLURM's signal it saves there. Here all processes agree, with the step, whether
    one was asked. The second signal of a kind stops at once, and saves nothing.

    Attributes:
        received: The signal; 0 for none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the signals, after Lightning has."""
        self.received = 0
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM, *_requeue_signals(trainer)):
            self._before[number] = signal.signal(number, self._remember)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self.on_train_end(trainer, pl_module)

    def _remember(self, number: int, _: FrameType | None) -> None:
        again, self.received = self.received == number, number
        if not again:
            _log.warning(
                "%s: stopping at the end of this step, with a checkpoint; the same again stops at once",
                _NAMES.get(number, number),
            )
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        elif number == signal.SIGTERM:
            raise SIGTERMException


def stop_request(trainer: L.Trainer) -> int:
    """Return the signal that has asked any process to stop, the same in all of them; 0 for none.

    Every process must call it at the same place.
    """
    found = next((callback for callback in trainer.callbacks if isinstance(callback, StopOnSignals)), None)  # type: ignore[attr-defined]
    if found is None:
        return 0
    if trainer.world_size == 1:
        return found.received
    received = torch.tensor(found.received, device=trainer.strategy.root_device)
    return int(trainer.strategy.reduce(received, reduce_op="max"))


def requeue(trainer: L.Trainer, number: int) -> bool:
    """Let Lightning write its checkpoint for SLURM and queue the job again, if this is SLURM's signal; return if so."""
    if number not in _requeue_signals(trainer):
        return False
    trainer._signal_connector._slurm_sigusr_handler_fn(number, None)  # type: ignore[arg-type]
    return True


def slurm_job(words: Sequence[str]) -> str:
    """Return the name of a folder for a fit in a job of SLURM, the same when the job is started again.

    Args:
        words: The words of the command: a job may have several fits.

    Returns:
        Such as `slurm-77-1f0c9a2b`; empty outside of SLURM, and in its interactive jobs.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if not job or not SLURMEnvironment.detect():
        return ""
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return f"slurm-{job}-{hashlib.blake2b(repr(list(words)).encode(), digest_size=4).hexdigest()}"


def _requeue_signals(trainer: L.Trainer) -> list[int]:
    environment = trainer._accelerator_connector.cluster_environment
    if isinstance(environment, SLURMEnvironment) and environment.auto_requeue and environment.requeue_signal:
        return [int(environment.requeue_signal)]
    return []
