"""Checkpoints: keeping the best one of a whole training, and refusing files that are no checkpoints."""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.flatten import flatten

__all__ = ["BestCheckpoint", "best_checkpoint", "ignored_flags", "read_hyperparameters"]

# What `numclip` reads from configuration and flags although a checkpoint is given.
NOT_RESTORED = ("_class_path", "backbone", "pretrained")


class BestCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint callback with a memory of the best epoch from before a training was resumed.

    Lightning forgets the best score when the folder changes. Here every run has a folder of its own, so the best
    checkpoint of a resumed training would only be the best since then. The arguments are those of `ModelCheckpoint`.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best checkpoint so far, in whatever folder; start again if it was deleted."""
        if Path(state_dict["best_model_path"]).is_file():
            super().load_state_dict({**state_dict, "dirpath": self.dirpath})


def best_checkpoint(trainer: L.Trainer) -> ModelCheckpoint | None:
    """Return the callback that decides which checkpoint is the best: ours, whatever others the user has added."""
    found = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    own = [callback for callback in found if isinstance(callback, BestCheckpoint)]
    return next(iter([*own, *found]), None)


def ignored_flags(words: Sequence[str], given: Mapping[str, Any], used: Mapping[str, Any]) -> list[str]:
    """Describe the flags of the method that a checkpoint overrides with other values.

    Args:
        words: The words of the command line.
        given: The method's arguments before the checkpoint is read, nested.
        used: The same from the checkpoint.

    Example:
        >>> ignored_flags(["--model.tolerance=50"], {"tolerance": 50.0}, {"tolerance": 20.0})
        ['--model.tolerance=50.0 (the checkpoint has 20.0)']
    """
    flags = {word.partition("=")[0].removeprefix("--model.") for word in words if word.startswith("--model.")}
    before, after = flatten(given), flatten(used)
    return [
        f"--model.{key}={value} (the checkpoint has {after[key]})"
        for key, value in before.items()
        if key in after and after[key] != value and any(key == flag or key.startswith(f"{flag}.") for flag in flags)
    ]


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
