"""The run folder: resolved configuration, metrics, and the command that tests the result; one folder for each run."""

import json
import math
import os
import secrets
import shlex
import shutil
import time
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from jsonargparse import Namespace
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from numclip_lightning.data.base.datamodule import OrdinalDataModule, Split
from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.types import SelectOn
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.runs.checkpoints import best_checkpoint, made_by
from numclip_lightning.runs.counts import write_counts
from numclip_lightning.runs.durable import write_whole
from numclip_lightning.runs.endings import called_program
from numclip_lightning.runs.flatten import flatten
from numclip_lightning.runs.guessing import Result, guess_of
from numclip_lightning.runs.in_wandb import WANDB_RUN
from numclip_lightning.runs.left_out import LEFT_OUT, number_left_out, write_left_out
from numclip_lightning.runs.prototypes import write_prototypes
from numclip_lightning.runs.trainer import uses_whole_split

__all__ = [
    "SHARED_KEYS",
    "RunFolder",
    "discard_unused",
    "is_better",
    "metrics_of",
    "new_run_name",
    "print_place",
    "print_result",
    "require_place",
    "run_folder",
    "selected_on",
]

# The sections that every verb understands; the others (`ckpt_path`, `test_after_fit`, ...) belong to one call.
SHARED_KEYS = (
    "seed_everything", "trainer", "model", "data", "checkpoint", "features", "averaging", "early_stopping", "length",
    "calibration", "on_non_finite",
)  # fmt: skip


def new_run_name(subcommand: str) -> str:
    """Return a name that sorts by time and is unique, even if many runs start at once."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{subcommand}-{secrets.token_hex(4)}"


def require_place(root: Path) -> None:
    """Raise ConfigError unless run folders can be made in a folder, which need not exist yet."""
    place = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        fault = "may not be written to" if place.is_dir() else "is a file"
        raise ConfigError(f"trainer.default_root_dir={root}: no run folder can be made there: {place} {fault}.")


class RunFolder(SaveConfigCallback):
    """Writes the configuration and the metrics of a run into a folder of its own.

    Lightning's own callback writes the configuration where the logger writes, which is one place for all W&B runs: the
    second run of a sweep fails or overwrites the first. This one writes

    - `config.yaml`: the resolved configuration, which any verb takes with `--config`;
    - `metrics.json`: after a fit the training metrics of the last epoch, the validation metrics of the best one and
      the best checkpoint's path; after a validation or test its metrics; and always `select_on`, which is "test" if
      the checkpoint was selected on test images, also if it is tested later under another configuration; and what
      guessing costs on the same images (`val_guess_mae`, `val_guess_acc`, and with `test_`);
    - `prototypes.json`: after a test, how alike the prompts are to a method that has them;
    - `left_out.csv`: the images that `data.on_bad_image=skip` leaves out, whose number is in `metrics.json`
      (`train_left_out` and so on);
    - `train_counts.json`: how many training images each value and each level has, where the training list is there;

    and gives the configuration to every other logger. The summary in W&B has the same validation metrics as
    `metrics.json`, so that a sweep aims at the checkpoint that is kept.

    Args:
        parser: The parser of the verb.
        config: The parsed configuration.
        folder: The run folder; created when the run starts.

    Attributes:
        result: What was measured last, beside what guessing costs; None before that.
    """

    def __init__(self, parser: LightningArgumentParser, config: Namespace, folder: Path) -> None:
        super().__init__(parser, config, save_to_log_dir=False)
        self.folder = folder
        self._best: dict[str, float] = {}
        self._made_by = ""
        self.select_on: SelectOn = "val"
        self.result: Result | None = None

    def state_dict(self) -> dict[str, Any]:
        """Keep the metrics of the best epoch, how it was selected, and which version made it, in checkpoints."""
        self._made_by = self._made_by or made_by()
        return {"best": self._best, "select_on": self.select_on, "made_by": self._made_by}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best epoch before a training was resumed, and remember a selection on test images."""
        self._best = state_dict["best"]
        # Older checkpoints say `protocol: paper`.
        if state_dict.get("select_on") == "test" or state_dict.get("protocol") == "paper":
            self.select_on = "test"

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget a best epoch whose checkpoint is gone."""
        if not getattr(best_checkpoint(trainer), "best_model_path", ""):
            self._best = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Agree on one folder: processes that were started separately have different names for it."""
        self.folder = Path(trainer.strategy.broadcast(str(self.folder)))
        data = getattr(trainer, "datamodule", None)
        self.select_on = data.select_on if isinstance(data, FileDataModule) else "val"
        super().setup(trainer, pl_module, stage)
        if trainer.is_global_zero:
            write_left_out(data, self.folder)

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write the configuration and log it; on the first process only."""
        # Validated when it was parsed; a second time takes a tenth of a second.
        resolved = yaml.safe_load(self.parser.dump(self.config, skip_unset=False, skip_validation=True))
        shared = {key: resolved[key] for key in SHARED_KEYS if key in resolved}
        data = getattr(trainer, "datamodule", None)
        arguments = (shared.get("data") or {}).get("init_args") or {}
        if isinstance(data, OrdinalDataModule) and arguments.get("image_size", 0) is None:
            arguments["image_size"] = data.side
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / "config.yaml", yaml.safe_dump(shared, sort_keys=False))
        for logger in trainer.loggers:
            if not isinstance(logger, CSVLogger):
                logger.log_hyperparams(flatten(shared))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the metrics of the best epoch; after `numclip validate`, write them."""
        if trainer.sanity_checking:
            return
        metrics = metrics_of(trainer, "val_")
        checkpoint = best_checkpoint(trainer)
        if trainer.state.fn == "validate":
            self._write(trainer, {**metrics, **self._compare(trainer, pl_module, "val", metrics)})
        elif checkpoint and is_better(metrics, self._best, checkpoint):
            self._best = metrics

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the metrics of the fit; give W&B those of the best epoch, because it keeps the last ones."""
        best = getattr(best_checkpoint(trainer), "best_model_path", "")
        guessed = self._compare(trainer, pl_module, "val", self._best)
        self._write(trainer, {**metrics_of(trainer, "train_"), **self._best, **guessed, "best_checkpoint": best})
        self._write_counts(trainer, pl_module)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                # Only the summary: another row would change the curves.
                logger.experiment.summary.update(self._best)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the metrics of the test."""
        metrics = metrics_of(trainer, "test_")
        self._write(trainer, {**metrics, **self._compare(trainer, pl_module, "test", metrics)})
        self._write_counts(trainer, pl_module)
        if trainer.is_global_zero:
            write_prototypes(pl_module, self.folder)

    def _write_counts(self, trainer: L.Trainer, method: L.LightningModule) -> None:
        if trainer.is_global_zero and isinstance(method, OrdinalMethod):
            write_counts(getattr(trainer, "datamodule", None), method.scale, self.folder)

    def _compare(
        self, trainer: L.Trainer, method: L.LightningModule, split: Split, metrics: dict[str, float]
    ) -> dict[str, float]:
        """Return what guessing costs on the images that were measured, and remember the comparison."""
        whole = uses_whole_split(trainer, split)
        if not (whole and f"{split}_mae" in metrics and isinstance(method, OrdinalMethod)):
            return {}
        guess = guess_of(getattr(trainer, "datamodule", None), split, method.scale)
        if guess is None:
            return {}
        self.result = Result(split, metrics[f"{split}_mae"], metrics.get(f"{split}_acc"), guess, method.scale.unit)
        return guess.metrics(split)

    def _write(self, trainer: L.Trainer, found: dict[str, Any]) -> None:
        if not trainer.is_global_zero:
            return
        path = self.folder / "metrics.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        found = {**found, **number_left_out(getattr(trainer, "datamodule", None)), "select_on": self.select_on}
        write_whole(path, json.dumps({**known, **found}, indent=2) + "\n")


def print_place(trainer: L.Trainer, checkpoint: str) -> None:
    """Print where a fit is kept, and the exact commands that test a checkpoint of it and read new images with it."""
    if trainer.is_global_zero:
        folder = run_folder(trainer)
        kept = ["--config", str(folder / "config.yaml"), "--ckpt_path", checkpoint]
        test, predict = (shlex.join([*called_program(), verb, *kept]) for verb in ("test", "predict"))
        print(f"\nThis run is kept in {folder}. To test it again:\n  {test}")  # noqa: T201
        # Generated images have no files.
        if hasattr(getattr(trainer, "datamodule", None), "predict_path"):
            print(f"To read new images:\n  {predict} --data.predict_path FOLDER")  # noqa: T201


def print_result(trainer: L.Trainer) -> None:
    """Print what was measured last beside what guessing costs, and what to try if it is no better."""
    folder = _callback(trainer)
    if trainer.is_global_zero and folder and folder.result:
        advice = folder.result.advice(folder.folder / "config.yaml")
        print("", folder.result.describe(), *([advice] if advice else []), sep="\n")  # noqa: T201


def discard_unused(trainer: L.Trainer) -> None:
    """Remove the folder of a run that has kept nothing but its configuration."""
    run = _callback(trainer)
    if run is None or not trainer.is_global_zero:
        return
    files = [file for file in run.folder.rglob("*") if not file.is_dir()]
    if all(file.name in ("config.yaml", LEFT_OUT, WANDB_RUN) or not file.stat().st_size for file in files):
        shutil.rmtree(run.folder, ignore_errors=True)


def run_folder(trainer: L.Trainer) -> Path:
    """Return the run folder of a trainer, on which all processes agree."""
    folder = _callback(trainer)
    return folder.folder if folder else Path(trainer.default_root_dir)


def selected_on(trainer: L.Trainer) -> SelectOn:
    """Return what the checkpoint of a trainer was selected on; `"val"` without a run folder."""
    folder = _callback(trainer)
    return folder.select_on if folder else "val"


def _callback(trainer: L.Trainer) -> RunFolder | None:
    return next((callback for callback in trainer.callbacks if isinstance(callback, RunFolder)), None)  # type: ignore[attr-defined]


def is_better(new: dict[str, float], old: dict[str, float], checkpoint: ModelCheckpoint) -> bool:
    """Compare two epochs as the checkpoint does: NaN is worse than any number, and any epoch is better than none."""
    if checkpoint.monitor not in new:
        return False
    sign = 1 if checkpoint.mode == "min" else -1
    now, before = (sign * epoch.get(checkpoint.monitor, math.nan) for epoch in (new, old))
    return not old or now < before or (math.isnan(before) and not math.isnan(now))


def metrics_of(trainer: L.Trainer, prefix: str) -> dict[str, float]:
    """Return what was logged last under names that begin with a prefix."""
    return {key: value.item() for key, value in trainer.callback_metrics.items() if key.startswith(prefix)}
