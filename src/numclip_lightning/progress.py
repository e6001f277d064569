"""How far what takes long is, and the time that is left: a bar on a terminal, a line now and then in a log."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

__all__ = ["busy", "in_words", "say", "watched"]

_log = logging.getLogger(__name__)

# Anything quicker needs no bar.
_SECONDS = 2.0
_SECONDS_BETWEEN_LINES = 30.0

T = TypeVar("T")


def watched(steps: Iterable[T], total: int, what: str, unit: str = "image") -> Iterable[T]:
    """Return the same steps; after two seconds, a bar on standard error shows how far they are.

    Where standard error is no terminal, a line is logged twice a minute. Other processes than the first show nothing.

    Args:
        steps: What is done, one by one.
        total: How many there are.
        what: What is done, for people: `"checking images"`.
        unit: What a step is.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return steps
    if not sys.stderr.isatty():
        return _told(steps, total, what)
    bar: Iterable[T] = tqdm(
        steps, total=total, desc=what, unit=unit, delay=_SECONDS, leave=False, smoothing=0
    )  # fmt: skip
    return bar


def _told(steps: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield the steps, and log how far they are twice a minute."""
    began = spoken = time.monotonic()
    for done, step in enumerate(steps, start=1):
        yield step
        now = time.monotonic()
        if now - spoken >= _SECONDS_BETWEEN_LINES and done < total:
            _log.info("%s: %d of %d; %s left", what, done, total, in_words((now - began) / done * (total - done)))
            spoken = now


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Show that one step of unknown length is under way, and for how long, if it takes more than two seconds.

    Where standard error is no terminal, lines are logged: at once then, and twice a minute. Other processes than the
    first show nothing.

    Args:
        what: What is done, for people: `"exporting as onnx"`.
    """
    ended = threading.Event()
    shown = threading.Thread(target=_show_busy, args=(what, ended), daemon=True)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        shown.start()
    try:
        yield
    finally:
        ended.set()
        if shown.ident is not None:
            # The bar is gone before anything else is printed: its end would wipe that line.
            shown.join()


def _show_busy(what: str, ended: threading.Event) -> None:
    began = time.monotonic()
    if ended.wait(_SECONDS):
        return
    if sys.stderr.isatty():
        with tqdm(desc=what, bar_format="{desc}: {elapsed}", leave=False) as bar:
            while not ended.wait(1.0):
                bar.refresh()
        return
    _log.info("%s ...", what)
    while not ended.wait(_SECONDS_BETWEEN_LINES):
        _log.info("%s: %s so far", what, in_words(time.monotonic() - began))


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
