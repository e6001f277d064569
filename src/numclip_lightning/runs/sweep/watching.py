"""A trial tells the study how it gets on after each validation, and stops where it is no longer worth going on."""

import math
from pathlib import Path

import lightning as L
import optuna
from lightning.pytorch.callbacks import Callback

from numclip_lightning.errors import ConfigError, near_matches
from numclip_lightning.runs.sweep.halving import Halving, pruner_of

__all__ = ["STOPPED_AT", "STUDY", "TellStudy", "storage_of"]

STUDY = "sweep"
# Of a trial that was stopped early: after which validation.
STOPPED_AT = "stopped_at"
# Seconds that one process waits for another that is writing.
_PATIENCE = 120


def storage_of(folder: Path) -> optuna.storages.RDBStorage:
    """Open the history of a sweep, which several processes write: `study.db` in its folder, a file of SQLite."""
    return optuna.storages.RDBStorage(
        f"sqlite:///{(folder / 'study.db').absolute()}", engine_kwargs={"connect_args": {"timeout": _PATIENCE}}
    )


class TellStudy(Callback):
    """Reports the metric of each validation to the study, and ends the fit early if the study says so.

    The fit ends as any other, with its best checkpoint and metrics. The last validation ends nothing: a trial that has
    come so far is complete.

    Args:
        folder: The folder of the sweep.
        number: The number of the trial.
        metric: What is reported, such as `val_mae`.
        halving: When trials are stopped; None for never.
    """

    def __init__(self, folder: Path, number: int, metric: str, halving: Halving | None) -> None:
        self.folder, self.number, self.metric, self.halving = folder, number, metric, halving
        self._step = 0
        self._trial: optuna.Trial | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the study."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = storage_of(self.folder)
        study = optuna.load_study(study_name=STUDY, storage=storage, pruner=pruner_of(self.halving))
        of_study = storage.get_study_id_from_name(STUDY)
        self._trial = optuna.Trial(study, storage.get_trial_id_from_study_id_trial_number(of_study, self.number))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the metric, and stop if it is not good enough.

        Raises:
            ConfigError: If nothing of this name was measured.
        """
        if trainer.sanity_checking or self._trial is None:
            return
        if self.metric not in trainer.callback_metrics:
            known = sorted(name for name in trainer.callback_metrics if name.startswith("val_"))
            hint = near_matches(self.metric, known, most=1) or f"; there are {', '.join(known)}."
            raise ConfigError(f"the metric of the sweep, {self.metric!r}, is not measured{hint}")
        self._step += 1
        value = trainer.callback_metrics[self.metric].item()
        if math.isfinite(value):
            self._trial.report(value, self._step)
            if self._is_judged(trainer) and self._trial.should_prune():
                self._trial.set_user_attr(STOPPED_AT, self._step)
                trainer.should_stop = True

    def _is_judged(self, trainer: L.Trainer) -> bool:
        """Return whether a trial may be stopped at this validation."""
        if self.halving is None or trainer.should_stop:
            return False
        most = trainer.max_epochs
        is_last = most is not None and 0 <= most <= trainer.current_epoch + 1
        return not is_last and (self.halving.last is None or self._step <= self.halving.last)
