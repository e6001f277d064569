"""Bars for what takes long: with the time that is left, and only where somebody looks at a terminal."""

import os
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

__all__ = ["in_words", "say", "watched"]

# Anything quicker needs no bar.
_SECONDS = 2.0

T = TypeVar("T")


def watched(steps: Iterable[T], total: int, what: str, unit: str = "image") -> Iterable[T]:
    """Return the same steps, with a bar on standard error after two seconds.

    There is none where standard error is no terminal, nor in other processes than the first.

    Args:
        steps: What is done, one by one.
        total: How many there are.
        what: What is done, for people: `"checking images"`.
        unit: What a step is.
    """
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    bar: Iterable[T] = tqdm(
        steps,
        total=total,
        desc=what,
        unit=unit,
        delay=_SECONDS,
        leave=False,
        smoothing=0,
        disable=None if first else True,
    )
    return bar


def say(line: str) -> None:
    """Print a line on standard output, above the bars of `watched` and not into them.

    Args:
        line: The line.
    """
    tqdm.write(line)


def in_words(seconds: float) -> str:
    """Return a time as people say it: `40 s`, `12 min`, `3 h 20 min`, `2 days 4 h`.

    Args:
        seconds: 0 or more.

    Example:
        >>> in_words(40), in_words(750), in_words(12_000), in_words(190_000)
        ('40 s', '12 min', '3 h 20 min', '2 days 4 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"
