"""Checkpoints: keeping the best one of a whole training, and refusing files that are no checkpoints."""

import inspect
import pickle
import re
import zipfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from numclip_lightning import __version__
from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.code import current_code

__all__ = [
    "NOT_RESTORED",
    "BestCheckpoint",
    "best_checkpoint",
    "explain_misfit",
    "made_by",
    "read_hyperparameters",
]

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
    _check_arguments(path, hyperparameters, _maker(checkpoint))
    return dict(hyperparameters)


def made_by() -> str:
    """Return the version of this program, with its commit if it is run from a clone."""
    commit = current_code().commit
    return f"numclip_lightning {__version__}" + (f" (commit {commit})" if commit else "")


def _maker(checkpoint: Mapping[str, Any]) -> str:
    """Return the version that made a checkpoint."""
    states = checkpoint.get("callbacks") or {}
    found = [state["made_by"] for state in states.values() if isinstance(state, dict) and "made_by" in state]
    return str(found[0]) if found else "an earlier version, which left no name"


def _check_arguments(path: str, known: Mapping[str, Any], maker: str) -> None:
    """Refuse a checkpoint whose method, or an argument of it, is not here any more."""
    module, _, name = str(known["_class_path"]).rpartition(".")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"--ckpt_path {path} holds the method {known['_class_path']}, which is not here ({error}). {_remedy(maker)}"
        ) from error
    taken = inspect.signature(kind).parameters
    if unknown := [key for key in known if key not in taken and key not in NOT_RESTORED]:
        raise ConfigError(
            f"--ckpt_path {path}: {name} does not take {', '.join(map(repr, unknown))} any more. {_remedy(maker)}"
        )


def _remedy(maker: str) -> str:
    return f"It was made by {maker}; this is {made_by()}: fit again, or use that version."


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
        maker = _maker(torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    except (OSError, RuntimeError, pickle.UnpicklingError):
        maker = "a version that can't be read"
    return ConfigError(
        f"--ckpt_path {path}: the checkpoint doesn't fit model.backbone, or the method as it is now: of its tensors "
        f"{', '.join(found) or text.splitlines()[0]}. If the backbone is another one, give the configuration in its "
        f"run folder. {_remedy(maker)}"
    )


def _between(text: str, start: str) -> str:
    """Return the rest of the line after some words; empty if they are not there."""
    return text.partition(start)[2].partition("\n")[0]
