"""A run in Weights & Biases, beside Lightning's logger: epochs as the axis, a link, and what a preempted run needs.

Nothing here imports `wandb`: the logger does, where it is asked for.
"""

import json
import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger

from numclip_lightning.runs.durable import write_whole
from numclip_lightning.runs.stopping import StoppedError

__all__ = ["WANDB_RUN", "InWandb", "interrupted_fit"]

_log = logging.getLogger(__name__)

WANDB_RUN = "wandb.json"
_AXIS = "epoch"
# What an agent of a sweep tells the process of a run.
_RUN_ID, _SWEEP_ID = "WANDB_RUN_ID", "WANDB_SWEEP_ID"


class InWandb(Callback):
    """Completes a run in Weights & Biases; does nothing without its logger.

    - `train_`, `val_` and `test_` metrics are drawn against epochs; what is logged of steps, against steps.
    - `wandb.json` in the run folder says which run there it is.
    - With `preemptible`, a fit that a signal of the system has stopped (SIGTERM, SLURM's SIGUSR1) is marked, so that
      its sweep gives it to an agent again, where it goes on (`interrupted_fit`).

    Args:
        folder: The run folder.
        preemptible: Whether to mark it.
    """

    def __init__(self, folder: Path, *, preemptible: bool = False) -> None:
        self._folder = folder
        self._preemptible = preemptible
        self._defined: set[str] = set()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say which run it is."""
        for run in _runs(trainer):
            told = {"id": run.id, "project": run.project, "entity": run.entity, "sweep": run.sweep_id, "url": run.url}
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / WANDB_RUN, json.dumps(told, indent=2) + "\n")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw training metrics against epochs."""
        self._define(trainer, "train_")

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw validation metrics against epochs."""
        self._define(trainer, "val_")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw test metrics against epochs."""
        self._define(trainer, "test_")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Finish a run that was stopped, as its process may end by the signal; mark one that goes on elsewhere."""
        if not isinstance(exception, StoppedError):
            return
        for run in _runs(trainer):
            if self._preemptible and exception.exit_code != 128 + signal.SIGINT:
                _log.warning("this run is marked as preempted: its sweep gives it to an agent again, where it goes on")
                run.mark_preempting()
            run.finish(exit_code=exception.exit_code)

    def _define(self, trainer: L.Trainer, prefix: str) -> None:
        """Name the axis of the metrics of a split, once: to look at them computes them, in all processes."""
        if trainer.sanity_checking or prefix in self._defined:
            return
        self._defined.add(prefix)
        names = sorted(name for name in trainer.callback_metrics if name.startswith(prefix))
        for run in _runs(trainer):
            for name in names:
                run.define_metric(name, step_metric=_AXIS)


def _runs(trainer: L.Trainer) -> Sequence[Any]:
    """Return the runs in Weights & Biases of this process: one, or none."""
    loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
    # A run that is switched off (`WANDB_MODE=disabled`) has the same methods.
    return [logger.experiment for logger in loggers] if trainer.is_global_zero else []


def interrupted_fit(root: str) -> str | None:
    """Return the last checkpoint of an earlier process of this run of a sweep, if there is one.

    A sweep gives a run that was preempted to an agent again, with the arguments that it had.

    Args:
        root: Where run folders are, `trainer.default_root_dir`.
    """
    run, sweep = os.environ.get(_RUN_ID), os.environ.get(_SWEEP_ID)
    if not (run and sweep):
        return None
    # Names of run folders sort by time: the last is the one that has come furthest.
    for file in sorted(Path(root).glob(f"*/{WANDB_RUN}"), reverse=True):
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        last = file.parent / "checkpoints" / "last.ckpt"
        if isinstance(told, dict) and (told.get("id"), told.get("sweep")) == (run, sweep) and last.is_file():
            _log.warning("this run of the sweep was interrupted; it goes on from %s", last)
            return str(last)
    return None
