"""Reading checkpoints: what is none is refused before anything is built, and so is one of a method that is gone."""

import inspect
import pickle
import zipfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from numclip_lightning import __version__
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.trust import refuse_foreign_code

__all__ = ["CLASS_PATH", "NOT_ARGUMENTS", "maker_of", "method_class", "read_checkpoint", "remedy_for"]

CLASS_PATH = "_class_path"
# Among the hyperparameters, but where weights come from is not the checkpoint's to say.
NOT_ARGUMENTS = (CLASS_PATH, "backbone", "pretrained")


def read_checkpoint(path: str | Path, label: str = "") -> dict[str, Any]:
    """Read a checkpoint; its tensors are mapped, and read when they are used.

    Args:
        path: The file.
        label: What stands before its name in messages, such as `--ckpt_path`.

    Returns:
        The checkpoint; `hyper_parameters` has the method's arguments, and its class under `_class_path`.

    Raises:
        ConfigError: If it can't be read, contains no method of this project, or names code that is not trusted.
    """
    named = f"{label} {path}".strip()
    if not zipfile.is_zipfile(path):
        raise ConfigError(f"{named} is no checkpoint, or was cut short; give another.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{named} can't be read: {reason}; it may be cut short or no checkpoint.") from error
    known = checkpoint.get("hyper_parameters", {}) if isinstance(checkpoint, dict) else {}
    if CLASS_PATH not in known:
        raise ConfigError(f"{named} was not made by `numclip fit`: it doesn't say which method it contains.")
    refuse_foreign_code(known, named)
    return dict(checkpoint)


def method_class(
    checkpoint: Mapping[str, Any], path: str | Path, label: str = "", here: str = ""
) -> type[OrdinalMethod]:
    """Return the class of a checkpoint's method.

    Args:
        checkpoint: As `read_checkpoint` returns it.
        path: Its file, for the message.
        label: As for `read_checkpoint`.
        here: The name of this version; that of the package by default.

    Raises:
        ConfigError: If the method, or an argument of it, is not here any more.
    """
    named, known = f"{label} {path}".strip(), checkpoint["hyper_parameters"]
    module, _, name = str(known[CLASS_PATH]).rpartition(".")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{named} holds the method {known[CLASS_PATH]}, which is not here ({error}). {remedy_for(checkpoint, here)}"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, OrdinalMethod)):
        raise ConfigError(f"{named} holds {known[CLASS_PATH]}, which is no method of this project; give another.")
    taken = inspect.signature(kind).parameters
    if unknown := [key for key in known if key not in taken and key not in NOT_ARGUMENTS]:
        raise ConfigError(
            f"{named}: {name} does not take {', '.join(map(repr, unknown))} any more. {remedy_for(checkpoint, here)}"
        )
    return kind


def maker_of(checkpoint: Mapping[str, Any]) -> str:
    """Return the version that made a checkpoint."""
    states = checkpoint.get("callbacks") or {}
    found = [state["made_by"] for state in states.values() if isinstance(state, dict) and "made_by" in state]
    return str(found[0]) if found else "an earlier version, which left no name"


def remedy_for(checkpoint: Mapping[str, Any], here: str = "") -> str:
    """Say which version made a checkpoint, and what to do."""
    this = here or f"numclip_lightning {__version__}"
    return f"It was made by {maker_of(checkpoint)}; this is {this}: fit again, or use that version."
