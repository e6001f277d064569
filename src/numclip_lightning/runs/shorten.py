"""Messages of the parser, which lists all that a value could have been, cut to what is wrong with it."""

import re
from dataclasses import fields, is_dataclass
from importlib import import_module

from numclip_lightning.errors import near_matches

__all__ = ["shorten"]

_PROBLEM = re.compile(r"^( *)- Problem with given class_path '([\w.]+)':\n((?:\1 +.*(?:\n|$))+)", re.MULTILINE)
_UNKNOWN = re.compile(r"unrecognized arguments: --([\w.]+)|'(?:init_args\.)?([\w.]+)' is not accepted")


def shorten(message: str) -> str:
    """Cut a message about a class and its arguments to one line, and add the name that may be meant.

    Args:
        message: The message of jsonargparse; one of another kind is returned as it is.
    """
    found = _PROBLEM.search(message)
    if not found:
        return message
    _, path, problem = found.groups()
    while inner := _PROBLEM.search(problem):
        _, path, problem = inner.groups()
    section = re.match(r'Parser key "([\w.]+)"', message)
    where = f"{section[1]}: " if section else ""
    text = " ".join(problem.split())
    return f"{where}{path.rpartition('.')[2]}: {text}{_near(path, text)}{_quotes(text)}"


def _quotes(problem: str) -> str:
    """Return what to do where YAML has read words as something else."""
    found = re.search(r"Expected a <class 'str'>\. Got value: (\S+)", problem)
    if not found:
        return ""
    words = "yes, no, on and off without quotes as true and false" if found[1] in ("True", "False") else "it so"
    return f"; YAML reads {words}: put the words in quotes"


def _near(path: str, problem: str) -> str:
    """Return a hint with the argument of a class that is nearest to the unknown one."""
    unknown = _UNKNOWN.search(problem)
    if not unknown:
        return ""
    key, dot, rest = (unknown[1] or unknown[2]).partition(".")
    module, _, name = path.rpartition(".")
    cls = getattr(import_module(module), name, None)
    known = [argument.name for argument in fields(cls) if argument.init] if is_dataclass(cls) else []
    if key in known:
        # The name inside it is wrong, such as `learning_rates.heads`.
        inner = getattr(cls, key, None)
        hint = near_matches(rest, [argument.name for argument in fields(inner)], most=1) if is_dataclass(inner) else ""
        return hint.replace("'", f"'{key}.", 1)
    return near_matches(key, known, most=1).replace("'?", f"{dot}{rest}'?")
