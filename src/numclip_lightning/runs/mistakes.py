"""All mistakes of a configuration in one message, before anything heavy starts."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.errors import ConfigError, NumClipError, collecting
from numclip_lightning.methods.base.construction import from_plain
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.mistakes import mistakes_in
from numclip_lightning.runs.averaging import AverageWeights
from numclip_lightning.runs.calibrating import Calibrate
from numclip_lightning.runs.compute import Compute
from numclip_lightning.runs.features import KeepFeatures
from numclip_lightning.runs.length import FitLength, StopEarly
from numclip_lightning.runs.remarks import contradictions

__all__ = ["SECTIONS", "find_class", "listed_mistakes", "mistakes_of", "refuse_mistakes"]

SECTIONS: dict[str, type] = {
    "compute": Compute,
    "features": KeepFeatures,
    "averaging": AverageWeights,
    "early_stopping": StopEarly,
    "length": FitLength,
    "calibration": Calibrate,
}
"""The callbacks with settings that are built from plain values, by their sections of a configuration."""


def refuse_mistakes(given: Mapping[str, Any], verb: str) -> None:
    """Raise one error with all mistakes of a configuration; what only the data or the weights show comes later.

    Args:
        given: The sections of a run as plain values: `model`, `data` and others.
        verb: `fit`, `validate`, `test` or `predict`.

    Raises:
        NumClipError: If anything is wrong; of its own kind if it is a single mistake.
    """
    found = mistakes_of(given, verb)
    if len({str(mistake) for mistake in found}) == 1:
        raise found[0]
    if found:
        raise ConfigError(listed_mistakes([str(mistake) for mistake in found]))


def mistakes_of(given: Mapping[str, Any], verb: str) -> list[NumClipError]:
    """Return what is wrong with each section by itself, and what contradicts each other; see `refuse_mistakes`."""
    found: list[NumClipError] = []
    model, data = (given.get(name) or {} for name in ("model", "data"))
    with _quiet():
        if kind := find_class(model.get("class_path"), OrdinalMethod):
            with suppress(Exception):
                found += mistakes_in(kind, model.get("init_args") or {})
        kind = find_class(data.get("class_path"), OrdinalDataModule)
        # The constructors of a user's own classes may do anything; they are called once, later.
        if kind and kind.__module__.startswith("numclip_lightning."):
            _try(kind, data.get("init_args") or {}, found)
        for name, section in SECTIONS.items():
            _try(section, given.get(name) or {}, found)
    return found + (contradictions(given) if verb == "fit" else [])


def listed_mistakes(messages: Sequence[str]) -> str:
    """Return one message for several mistakes, a line each; the same one is named once."""
    different = list(dict.fromkeys(messages))
    return f"{len(different)} mistakes:" + "".join(f"\n- {message}" for message in different)


def find_class(path: object, base: type) -> Any:
    """Return the subclass of `base` that a `class_path` names, in this package by its name alone; None for others."""
    if not isinstance(path, str):
        return None
    module, _, name = path.rpartition(".")
    home = module or f"numclip_lightning.{'methods' if base is OrdinalMethod else 'data'}"
    with suppress(ImportError):
        found = getattr(import_module(home), name, None)
        return found if isinstance(found, type) and issubclass(found, base) else None
    return None


def _try(kind: type, arguments: Mapping[str, Any], found: list[NumClipError]) -> None:
    """Build an object that costs nothing, and keep what its checks refuse."""
    types = {field.name: field.type for field in fields(kind)} if is_dataclass(kind) else {}
    own: list[NumClipError] = []
    # What else it raises is raised again, and explained, where the run builds it.
    with suppress(Exception), collecting(own):
        kind(**{name: from_plain(types.get(name), value) for name, value in arguments.items()})
    found += own


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep remarks back, which the run itself will make."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)
