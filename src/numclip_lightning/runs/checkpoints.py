"""Checkpoints: which ones a training keeps, and what the command line reads from them."""

import logging
import re
import shutil
import time
from pathlib import Path
from typing import Any, Literal, get_args

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from numclip_lightning import __version__
from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.methods.base.frozen import find_again
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.saved import method_class, read_checkpoint, remedy_for
from numclip_lightning.runs.code import current_code
from numclip_lightning.runs.stopping import StoppedError, requeue, stop_request

__all__ = [
    "BestCheckpoint",
    "best_checkpoint",
    "explain_misfit",
    "made_by",
    "read_hyperparameters",
]

_log = logging.getLogger(__name__)

Frozen = Literal["keep", "leave_out"]
BEST = "best"
_FLAG = "--ckpt_path"


class BestCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint callback, with `best.ckpt` as the best epoch and `last.ckpt` as the last one.

    - Lightning forgets the best score when the folder changes. Here every run has a folder of its own, so the best
      checkpoint of a resumed training would only be the best since then; here it is the best of the whole training.
    - Lightning writes `last.ckpt` only where a better checkpoint is written, so that a resumed training would go back.
      Here it is written whenever a checkpoint is due (`save_last: link` is Lightning's link to what was written last).
    - If several are kept (`save_top_k` above 1, or -1), each has a name of its own, and `best.ckpt` is a link to the
      best of them.
    - Lightning saves every n training steps *in place of* every validation, and compares the score of a validation that
      is long past. Here `every_n_train_steps` and `train_time_interval` write `last.ckpt` within epochs, and the best
      is looked for at every validation as ever.
    - A signal that asks the fit to stop (`StopOnSignals`) is obeyed at the end of a step, with `last.ckpt`.

    A fit that is resumed from any of them ends as if it had not been stopped (`ExactResume`).

    Args:
        *args: The arguments of `ModelCheckpoint`.
        frozen: What to do with weights that are not trained: `keep` them, or `leave_out` those that are found again
            where the backbone came from (`model.pretrained`), which makes checkpoints smaller. Whoever reads such a
            checkpoint needs the backbone.
        **kwargs: The arguments of `ModelCheckpoint`.
    """

    def __init__(self, *args: Any, frozen: Frozen = "keep", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_choice("checkpoint.frozen", frozen, get_args(Frozen))
        self.frozen = frozen
        self._every_n_epochs = self._every_n_epochs or 1
        if self._keeps_several and "{" not in (self.filename or ""):
            self.filename = f"{self.filename or BEST}-{{epoch}}-{{step}}"

    @property
    def _keeps_several(self) -> bool:
        return self.save_top_k not in (0, 1)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Find out which weights need not be kept, when the method knows what it trains.

        Raises:
            BackboneError: If they can't be found now: then they could not be later.
        """
        super().on_fit_start(trainer, pl_module)
        if not isinstance(pl_module, OrdinalMethod):
            return
        leaves_out = self.frozen == "leave_out"
        method = pl_module
        method.found_again = find_again(method, method.backbone, method.pretrained) if leaves_out else {}
        if leaves_out and not method.found_again:
            _log.warning("checkpoint.frozen=leave_out: no frozen weights can be found again, so that all are kept")

    @property
    def state_key(self) -> str:
        """The name of its state in checkpoints, also where a fit is resumed with another interval."""
        return self._generate_state_key(
            monitor=self.monitor, mode=self.mode, every_n_train_steps=0, every_n_epochs=1, train_time_interval=None
        )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write `last.ckpt` within an epoch if it is time, or if a signal asks the fit to stop.

        Not between two steps of accumulated gradients, which no checkpoint has; and not after the last batch, which the
        validation follows: its checkpoint is written soon.

        Raises:
            StoppedError: If a signal has asked the fit to stop.
        """
        loop = trainer.fit_loop.epoch_loop
        number = stop_request(trainer)
        if trainer.fast_dev_run or loop._should_accumulate() or loop.batch_progress.is_last_batch:  # type: ignore[attr-defined]
            return
        if number or self._is_due(trainer):
            self._save_within(trainer)
        if number:
            self._stop(trainer, number)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the checkpoints that are due at the end of an epoch.

        Raises:
            StoppedError: If a signal has asked the fit to stop.
        """
        super().on_train_epoch_end(trainer, pl_module)
        number, in_time = stop_request(trainer), self._should_save_on_train_epoch_end(trainer)
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if (self.save_last is True and not in_time) or (number and self._last_global_step_saved != trainer.global_step):
            self._save_within(trainer)
        if number:
            self._stop(trainer, number)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the best; after the last batch `last.ckpt` waits for the end of the epoch, where a fit can go on."""
        asked = self.save_last
        if self.save_last is True and trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self.save_last = False
        try:
            super().on_validation_end(trainer, pl_module)
        finally:
            self.save_last = asked

    def _is_due(self, trainer: L.Trainer) -> bool:
        """Return whether it is time for a checkpoint within an epoch; the same in all processes."""
        if self._every_n_train_steps and trainer.global_step % self._every_n_train_steps == 0:
            return True
        if self._train_time_interval is None:
            return False
        now, seconds = time.monotonic(), self._train_time_interval.total_seconds()
        is_due: bool = trainer.strategy.broadcast(now - (self._last_time_checked or now) >= seconds)
        if is_due:
            self._last_time_checked = now
        return is_due

    def _save_within(self, trainer: L.Trainer) -> None:
        """Write `last.ckpt`, and leave to the next validation what it would do without."""
        before = self._last_global_step_saved
        self.last_model_path = self.format_checkpoint_name(self._monitor_candidates(trainer), self.CHECKPOINT_NAME_LAST)
        self._save_checkpoint(trainer, self.last_model_path)
        self._last_global_step_saved = before

    def _stop(self, trainer: L.Trainer, number: int) -> None:
        """End the fit, whose state is saved."""
        raise StoppedError(number, Path(self.last_model_path), queued=requeue(trainer, number))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best checkpoint so far, in whatever folder; start again if it was deleted."""
        if Path(state_dict["best_model_path"]).is_file():
            super().load_state_dict({**state_dict, "dirpath": self.dirpath})

    def _save_topk_checkpoint(self, trainer: L.Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        """Keep the best, and let the last follow.

        Overridden although it is private: Lightning has no switch for either.
        """
        super()._save_topk_checkpoint(trainer, monitor_candidates)
        if self.save_last is True:
            # Lightning writes the last checkpoint if one was written at this step.
            self._last_global_step_saved = trainer.global_step
        if self._keeps_several and trainer.is_global_zero:
            _link_best(Path(self.best_model_path), self.dirpath)


def _link_best(best: Path, folder: str | Path | None) -> None:
    """Let `best.ckpt` be the best of several checkpoints in a folder."""
    if folder is None or not best.is_file() or best.parent != Path(folder):
        return
    link = Path(folder, f"{BEST}.ckpt")
    if link == best or (link.is_symlink() and link.readlink() == Path(best.name)):
        return
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(best.name)
    except OSError:  # a file system without links
        shutil.copy(best, link)


def best_checkpoint(trainer: L.Trainer) -> ModelCheckpoint | None:
    """Return the callback that decides which checkpoint is the best: ours, whatever others the user has added."""
    found = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    own = [callback for callback in found if isinstance(callback, BestCheckpoint)]
    return next(iter([*own, *found]), None)


def read_hyperparameters(path: str) -> dict[str, Any]:
    """Read the hyperparameters of a checkpoint; refuse a file that is none before anything is built.

    Args:
        path: The value of `--ckpt_path`.

    Returns:
        The method's arguments as plain values, and its class under `_class_path`.

    Raises:
        ConfigError: If it is no file, can't be read, or contains no method of this project.
    """
    if not Path(path).is_file():
        raise ConfigError(f"--ckpt_path {path} is no file; give the path of a checkpoint (*.ckpt) that a fit has kept.")
    checkpoint = read_checkpoint(path, _FLAG)
    method_class(checkpoint, path, _FLAG, made_by())
    return dict(checkpoint["hyper_parameters"])


def made_by() -> str:
    """Return the version of this program, with its commit if it is run from a clone."""
    commit = current_code().commit
    return f"numclip_lightning {__version__}" + (f" (commit {commit})" if commit else "")


def explain_misfit(error: RuntimeError, path: str) -> ConfigError:
    """Return the message for a checkpoint whose tensors don't fit the method as it is built here.

    Args:
        error: The error of torch, which names all of them.
        path: The value of `--ckpt_path`.
    """
    text = str(error)
    kinds = {
        "are missing in the checkpoint": re.findall(r'"([^"]+)"', _between(text, "Missing key(s) in state_dict: ")),
        "are not known here": re.findall(r'"([^"]+)"', _between(text, "Unexpected key(s) in state_dict: ")),
        "have another shape": re.findall(r"size mismatch for ([^:]+):", text),
    }
    found = [f"{len(names)} {what} (first {names[0]!r})" for what, names in kinds.items() if names]
    try:
        remedy = remedy_for(read_checkpoint(path), made_by())
    except ConfigError as unread:
        remedy = str(unread)
    return ConfigError(
        f"--ckpt_path {path}: the checkpoint doesn't fit model.backbone, or the method as it is now: of its tensors "
        f"{', '.join(found) or text.splitlines()[0]}. If the backbone is another one, give the configuration in its "
        f"run folder. {remedy}"
    )


def _between(text: str, start: str) -> str:
    """Return the rest of the line after some words; empty if they are not there."""
    return text.partition(start)[2].partition("\n")[0]
