"""Levels of a scale, as objects or as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from numclip_lightning.errors import ScaleError

__all__ = ["Level", "LevelDict", "LevelLike", "as_level"]


@dataclass(frozen=True)
class Level:
    """One coarse bin of a scale.

    Args:
        phrase: The words for it, such as `"young adult"`.
        start: The first value it covers, in the target's unit; it ends where the next level starts.
    """

    phrase: str
    start: float


class LevelDict(TypedDict):
    """A level as plain values, as in YAML; see `Level`."""

    phrase: str
    start: float


LevelLike = Level | LevelDict


def as_level(level: LevelLike) -> Level:
    """Return a level as it is, or build it from its plain values.

    Raises:
        ScaleError: If keys are missing or unknown, the phrase is not text or the start is not a number.
    """
    if isinstance(level, Mapping):
        if set(level) != {"phrase", "start"}:
            raise ScaleError(f"the level {dict(level)} must have exactly the keys 'phrase' and 'start'.")
        level = Level(**level)
    # Types are checked by the command line, not in Python.
    phrase: Any = level.phrase
    start: Any = level.start
    if not isinstance(phrase, str):
        yaml = " YAML reads yes, no, on and off without quotes as True and False." if isinstance(phrase, bool) else ""
        raise ScaleError(f"the phrase {phrase!r} of the level at {start} is not text; put it in quotes.{yaml}")
    if not isinstance(start, int | float):
        raise ScaleError(f"level {phrase!r} starts at {start!r}, which is not a number; give its first value.")
    return level
