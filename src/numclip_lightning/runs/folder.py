"""The run folder: resolved configuration, metrics, and the command that tests the result; one folder for each run."""

import json
import math
import secrets
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from jsonargparse import Namespace
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.types import SelectOn

__all__ = ["SHARED_KEYS", "RunFolder", "new_run_name", "selected_on"]

# The sections that every verb understands; the others (`ckpt_path`, `test_after_fit`, ...) belong to one call.
SHARED_KEYS = ("seed_everything", "trainer", "model", "data", "checkpoint", "features")


def new_run_name(subcommand: str) -> str:
    """Return a name that sorts by time and is unique, even if many runs start at once."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{subcommand}-{secrets.token_hex(4)}"


class RunFolder(SaveConfigCallback):
    """Writes the configuration and the metrics of a run into a folder of its own.

    Lightning's own callback writes the configuration where the logger writes, which is one place for all W&B runs: the
    second run of a sweep fails or overwrites the first. This one writes

    - `config.yaml`: the resolved configuration, which any verb takes with `--config`;
    - `metrics.json`: after a fit the training metrics of the last epoch, the validation metrics of the best one and
      the best checkpoint's path; after a validation or test its metrics; and always `select_on`, which is "test" if
      the checkpoint was selected on test images, also if it is tested later under another configuration;

    and gives the configuration to every other logger. The summary in W&B has the same validation metrics as
    `metrics.json`, so that a sweep aims at the checkpoint that is kept.

    Args:
        parser: The parser of the verb.
        config: The parsed configuration.
        folder: The run folder; created when the run starts.
    """

    def __init__(self, parser: LightningArgumentParser, config: Namespace, folder: Path) -> None:
        super().__init__(parser, config, save_to_log_dir=False)
        self.folder = folder
        self._best: dict[str, float] = {}
        self.select_on: SelectOn = "val"

    def state_dict(self) -> dict[str, Any]:
        """Keep the metrics of the best epoch, and how it was selected, in checkpoints."""
        return {"best": self._best, "select_on": self.select_on}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best epoch before a training was resumed, and remember a selection on test images."""
        self._best = state_dict["best"]
        # Older checkpoints say `protocol: paper`.
        if state_dict.get("select_on") == "test" or state_dict.get("protocol") == "paper":
            self.select_on = "test"

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget a best epoch whose checkpoint is gone."""
        if not getattr(trainer.checkpoint_callback, "best_model_path", ""):
            self._best = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Agree on one folder: processes that were started separately have different names for it."""
        self.folder = Path(trainer.strategy.broadcast(str(self.folder)))
        data = getattr(trainer, "datamodule", None)
        self.select_on = data.select_on if isinstance(data, FileDataModule) else "val"
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write the configuration and log it; on the first process only."""
        resolved = yaml.safe_load(self.parser.dump(self.config, skip_unset=False))
        shared = {key: resolved[key] for key in SHARED_KEYS if key in resolved}
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.yaml").write_text(yaml.safe_dump(shared, sort_keys=False), encoding="utf-8")
        for logger in trainer.loggers:
            if not isinstance(logger, CSVLogger):
                logger.log_hyperparams(_flatten(shared))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the metrics of the best epoch; after `numclip validate`, write them."""
        if trainer.sanity_checking:
            return
        metrics = _metrics(trainer, "val_")
        checkpoint = trainer.checkpoint_callback
        if trainer.state.fn == "validate":
            self._write(trainer, metrics)
        elif isinstance(checkpoint, ModelCheckpoint) and _is_better(metrics, self._best, checkpoint):
            self._best = metrics

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the metrics of the fit; give W&B those of the best epoch, because it keeps the last ones."""
        best = getattr(trainer.checkpoint_callback, "best_model_path", "")
        self._write(trainer, {**_metrics(trainer, "train_"), **self._best, "best_checkpoint": best})
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                # Only the summary: another row would change the curves.
                logger.experiment.summary.update(self._best)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the metrics of the test."""
        self._write(trainer, _metrics(trainer, "test_"))

    def _write(self, trainer: L.Trainer, found: dict[str, Any]) -> None:
        if not trainer.is_global_zero:
            return
        path = self.folder / "metrics.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps({**known, **found, "select_on": self.select_on}, indent=2) + "\n", encoding="utf-8")

    def test_command(self, checkpoint: str) -> str:
        """Return the exact command that tests a checkpoint of this run, with the program that was called."""
        called = Path(sys.argv[0])
        program = [sys.argv[0]] if called.stem == "numclip" else ["numclip"]
        if called.name == "__main__.py":
            program = [sys.executable, "-m", "numclip_lightning"]
        words = [*program, "test", "--config", str(self.folder / "config.yaml"), "--ckpt_path", checkpoint]
        return shlex.join(words)


def selected_on(trainer: L.Trainer) -> SelectOn:
    """Return what the checkpoint of a trainer was selected on; `"val"` without a run folder."""
    folders = (callback for callback in trainer.callbacks if isinstance(callback, RunFolder))  # type: ignore[attr-defined]
    return next((folder.select_on for folder in folders), "val")


def _is_better(new: dict[str, float], old: dict[str, float], checkpoint: ModelCheckpoint) -> bool:
    """Compare two epochs as the checkpoint does: NaN is worse than any number, and any epoch is better than none."""
    if checkpoint.monitor not in new:
        return False
    sign = 1 if checkpoint.mode == "min" else -1
    now, before = (sign * epoch.get(checkpoint.monitor, math.nan) for epoch in (new, old))
    return not old or now < before or (math.isnan(before) and not math.isnan(now))


def _metrics(trainer: L.Trainer, prefix: str) -> dict[str, float]:
    return {key: value.item() for key, value in trainer.callback_metrics.items() if key.startswith(prefix)}


def _flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join nested keys with dots, as flags and sweeps name them."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
