"""Checkpoints: keeping the best one of a whole training, and refusing files that are no checkpoints."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from numclip_lightning.errors import ConfigError

__all__ = ["BestCheckpoint", "read_hyperparameters"]


class BestCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint callback with a memory of the best epoch from before a training was resumed.

    Lightning forgets the best score when the folder changes. Here every run has a folder of its own, so the best
    checkpoint of a resumed training would only be the best since then. The arguments are those of `ModelCheckpoint`.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best checkpoint so far, in whatever folder; start again if it was deleted."""
        if Path(state_dict["best_model_path"]).is_file():
            super().load_state_dict({**state_dict, "dirpath": self.dirpath})


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
    if not zipfile.is_zipfile(path):
        raise ConfigError(f"--ckpt_path {path} is no checkpoint, or was cut short; give another.")
    try:
        # Mapped, not read: the weights are loaded later, once.
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"--ckpt_path {path} can't be read: {reason}; it may be cut short or no checkpoint."
        ) from error
    hyperparameters = checkpoint.get("hyper_parameters", {}) if isinstance(checkpoint, dict) else {}
    if "_class_path" not in hyperparameters:
        raise ConfigError(f"--ckpt_path {path} was not made by `numclip fit`: it doesn't say which method it contains.")
    return dict(hyperparameters)
