"""Bars for what takes long: with the time that is left, and only where somebody looks at a terminal."""

import os
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

__all__ = ["watched"]

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
