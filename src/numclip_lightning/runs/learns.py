"""Whether a method has anything to learn, read from the method itself: it is built on the small embedded CLIP."""

import inspect
import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numclip_lightning.methods
from numclip_lightning.errors import NumClipError
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.plain import parse_yaml

__all__ = ["build_small", "learns", "merged"]

# What a configuration in words that no method takes may raise; the run itself reports it best.
_REFUSALS = (NumClipError, AttributeError, ImportError, KeyError, OSError, TypeError, ValueError)


def learns(files: Sequence[str], args: Mapping[str, Any]) -> bool:
    """Return whether the method of a run has parameters to train or to solve.

    A method of the user's own is not built here, but only in the process of its run: what it does while it is built,
    such as filling the memory, must not end the benchmark. It counts as learning; `trains: false` says otherwise.

    Args:
        files: The run's configuration files; later ones override earlier ones.
        args: Further arguments by their names on the command line.

    Returns:
        False if it is built and has nothing to learn; True also if it can't be built or is the user's own.
    """
    try:
        model: dict[str, Any] = {}
        for file in files:
            content = parse_yaml(Path(file).read_text(encoding="utf-8")) or {}
            model = merged(model, _tree("model", content.get("model") or {}))
        for name, value in args.items():
            model = merged(model, _tree(name, value), whole_args=".args." not in name)
        module = str(model["class_path"]).rpartition(".")[0]
        if module and module.partition(".")[0] != "numclip_lightning":
            return True
        # Its remarks on random weights would puzzle.
        log = logging.getLogger("numclip_lightning")
        level = log.level
        log.setLevel(logging.ERROR)
        try:
            method = build_small(model)
        finally:
            log.setLevel(level)
    except _REFUSALS:
        return True
    return any(parameter.requires_grad for parameter in method.parameters())


def build_small(model: Mapping[str, Any]) -> OrdinalMethod:
    """Build the method of a `model` section, with random weights for the embedded CLIP.

    Args:
        model: `class_path` and `init_args`. Arguments that the class does not take are left out, as the command does
            with those of a run's own method.
    """
    module, _, name = str(model["class_path"]).rpartition(".")
    kind: type[OrdinalMethod] = getattr(import_module(module) if module else numclip_lightning.methods, name)
    taken = inspect.signature(kind).parameters
    arguments = {**(model.get("init_args") or {}), "backbone": "mini", "pretrained": None}
    return kind(**{name: value for name, value in arguments.items() if name in taken})


def _tree(name: str, value: Any) -> dict[str, Any]:
    """Return an argument such as `model.learning_rates.head` as a part of a `model` section; {} for other sections."""
    section, *keys = name.replace(".init_args.", ".").split(".")
    if section != "model":
        return {}
    if not keys:
        return {"class_path": value} if isinstance(value, str) else dict(value)
    if keys == ["class_path"]:
        return {"class_path": value}
    for key in reversed(keys):
        value = {key: value}
    return {"init_args": value}


def merged(below: Mapping[str, Any], above: Mapping[str, Any], *, whole_args: bool = True) -> dict[str, Any]:
    """Return a mapping with another one on top of it, at every depth.

    Args:
        below: What is overridden.
        above: What overrides it.
        whole_args: Whether the `args` of an optimiser or a schedule replace those below, as they do in files and flags
            that give all of them: those of SGD are not for RAdam. False for a flag of one of them.
    """
    whole = dict(below)
    for key, value in above.items():
        replaces = whole_args and key == "args"
        deeper = isinstance(value, Mapping) and isinstance(whole.get(key), Mapping) and not replaces
        whole[key] = merged(whole[key], value, whole_args=whole_args) if deeper else value
    return whole
