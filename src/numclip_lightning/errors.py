"""The project's exceptions.

Every message is for users: what was wrong (the argument and its value), where (file and line for data), and what to do
next. The command line prints only the message, without a traceback, and exits with a code other than 0.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches

__all__ = [
    "BackboneError",
    "ConfigError",
    "DataError",
    "MissingListError",
    "NumClipError",
    "RunError",
    "ScaleError",
    "check_choice",
    "check_weight",
    "collecting",
    "format_number",
    "near_matches",
    "refuse",
    "shown",
]


class NumClipError(Exception):
    """Base of all errors that this package raises on purpose.

    Attributes:
        exit_code: The exit code of `numclip` after it.
    """

    exit_code = 2


class RunError(NumClipError):
    """Run that began well and did not end well: it diverged, left something out, or was stopped.

    Args:
        message: What happened, what is kept, and what to do.
        exit_code: 1: results are not finite. 3: images were skipped. 130: stopped by Ctrl-C. 143: stopped by SIGTERM.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ConfigError(NumClipError, ValueError):
    """Argument, or combination of arguments, that can't work."""


class ScaleError(ConfigError):
    """Scale that contradicts itself, or target outside the scale."""


class BackboneError(ConfigError):
    """CLIP model that is unknown, lacks its weights or can't do what a method needs."""


class DataError(NumClipError, ValueError):
    """Label file, image or split that can't be used."""


class MissingListError(DataError):
    """List that was not given, was not found, or has no entry."""


_collected: ContextVar[list[NumClipError] | None] = ContextVar("collected", default=None)


def refuse(message: str, kind: type[NumClipError] = ConfigError) -> None:
    """Raise an error; within `collecting`, keep it instead and return, so that later checks find more.

    Checks of arguments call it, so that a user reads of all mistakes at once. What follows has to stand the mistake.

    Args:
        message: What is wrong and what to do.
        kind: The kind of error.
    """
    found, error = _collected.get(), kind(message)
    if found is None:
        raise error
    found.append(error)


@contextmanager
def collecting(found: list[NumClipError]) -> Iterator[None]:
    """Collect what `refuse` is called with, and the error that ends the block, if any.

    Args:
        found: Where errors are added. Other exceptions are dropped if an error was found before them: a check that goes
            on after a mistake may stumble over it.
    """
    token = _collected.set(found)
    try:
        yield
    except NumClipError as error:
        found.append(error)
    except Exception:
        if not found:
            raise
    finally:
        _collected.reset(token)


def near_matches(name: str, known: Iterable[str], *, most: int = 3) -> str:
    """Suggest known names similar to a misspelt one.

    Args:
        name: The given name.
        known: The names that exist.
        most: The maximum number of suggestions.

    Returns:
        `"; did you mean 'a' or 'b'?"`, or an empty string if nothing is similar.

    Example:
        >>> near_matches("agee", ["age", "path"])
        "; did you mean 'age'?"
    """
    matches = get_close_matches(name, list(known), n=most, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, matches))}?" if matches else ""


def check_choice(argument: str, value: str, choices: Iterable[str]) -> None:
    """Raise ConfigError unless a value is one of the choices; the command line checks them earlier, by type.

    Args:
        argument: Its name in the user's configuration.
        value: Its value.
        choices: The allowed values.
    """
    choices = list(choices)
    if value not in choices:
        suggestion = near_matches(str(value), choices) or "."
        refuse(f"{argument} is {value!r}; choose one of {', '.join(map(repr, choices))}{suggestion}")


def check_weight(argument: str, value: float, zero: str) -> None:
    """Raise ConfigError unless a value is a finite number of 0 or more.

    Args:
        argument: Its name in the user's configuration.
        value: Its value.
        zero: What 0 means, for the message: `"frozen"`.
    """
    if not (math.isfinite(value) and value >= 0):
        refuse(f"{argument} is {value}; give 0 ({zero}) or a positive number.")


def format_number(value: float) -> str:
    """Write a number with all its digits, as a list would have it: `31`, `3.5`, `1234567.25`.

    Args:
        value: The number.

    Returns:
        The shortest decimal that is read back as the same number, without a trailing `.0`.
    """
    return repr(float(value)).removesuffix(".0")


def shown(text: str, most: int = 200) -> str:
    r"""Write what a file says so that people see it: what is invisible as escapes, and no more than a few lines.

    Args:
        text: A path or a field of a list.
        most: How many characters are kept of a longer one.

    Example:
        >>> print(shown("a\u200bb.jpg"))
        a\u200bb.jpg
    """
    start = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text[:most]
    )
    return start if len(text) <= most else f"{start}... ({len(text):,} characters)"
