"""The parser of the command line: whole names only, and a hint after a name that is no longer used."""

import gc
import re
from argparse import ArgumentError
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NoReturn

import torch
from jsonargparse import Namespace
from jsonargparse.typing import register_type
from lightning.pytorch.cli import LightningArgumentParser

from numclip_lightning.methods.base import OrdinalMethod
from numclip_lightning.runs.agents import with_plain_values
from numclip_lightning.runs.shorten import shorten

__all__ = ["ABOUT", "USAGE", "Parser", "parse_words"]

_SELECT_ON = (
    "use data.select_on=val (before: protocol=clean) or data.select_on=test (before: protocol=paper, or "
    "allow_test_as_val=true)"
)
# Names that users may still have in their files and scripts, and what to write instead.
_RENAMED = {"protocol": _SELECT_ON, "allow_test_as_val": _SELECT_ON}

_words: ContextVar[Sequence[str]] = ContextVar("words", default=())


def parse_words(parser: LightningArgumentParser, own: LightningArgumentParser, words: Sequence[str]) -> Namespace:
    """Parse a verb and its words; an error names all that is wrong with them, not only what is met first.

    The parser of all verbs reads with that of the verb, and then completes and checks what was found a second time. So
    the verb's own reads first, and what it refuses is read again by both, which say so as they always do.

    Args:
        parser: The parser of all verbs.
        own: The parser of this verb, which is part of it.
        words: The verb and its words.
    """
    # The parser of all verbs is the one that prints.
    if any(word.partition("=")[0] == "--print_config" for word in words):
        return _parse_twice(parser, words)
    with _raising(own), suppress(ArgumentError):
        found = parser.get_defaults()
        found["subcommand"], found[words[0]] = words[0], own.parse_args(words[1:])
        return found
    return _parse_twice(parser, words)


@contextmanager
def _raising(parser: LightningArgumentParser) -> Iterator[None]:
    """Let a parser raise what is wrong instead of printing it and ending the process."""
    before, parser.exit_on_error = parser.exit_on_error, False
    try:
        yield
    finally:
        parser.exit_on_error = before


def _parse_twice(parser: LightningArgumentParser, words: Sequence[str]) -> Namespace:
    """Parse a verb and its words by the parser of all verbs."""
    token = _words.set(words[1:])
    try:
        found: Namespace = parser.parse_args(words)
        return found
    finally:
        _words.reset(token)


def _with_others(first: str) -> str:
    """Return a message with the other mistakes of the words below it; the same one if there are no others."""
    # Imported when something is wrong: it knows every section of a run.
    from numclip_lightning.runs.word_mistakes import word_mistakes

    found: list[str] = []
    with suppress(Exception):
        found = word_mistakes(_words.get())
    if len(found) < 2:
        return first
    known = any(re.search(rf"\b{re.escape(line.partition(':')[0].rpartition('.')[2])}\b", first) for line in found)
    lines = found if known else [first, *found]
    return f"{len(lines)} mistakes:" + "".join(f"\n- {line}" for line in lines)


def _kinds_of(kind: type[Any]) -> Iterator[type[Any]]:
    found: type[Any]
    for found in kind.__subclasses__():
        yield found
        yield from _kinds_of(found)


def _forget_traced_methods() -> None:
    """Let go of the methods that an export in this process has traced.

    `torch.export` makes subclasses with the module and the name of the class that it traces. They are gone when they
    are collected; until then `--model=NumCLIP` would name two classes, and be refused.
    """
    paths = Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in set(_kinds_of(OrdinalMethod)))
    if any(number > 1 for number in paths.values()):
        gc.collect()


# In place of the names of all flags, which would hide the error that follows.
USAGE = "numclip {} [--config FILE]... [--KEY=VALUE]..."

# What each verb does, as in `numclip --help`. Lightning's own words are of its functions, and one ends in the middle.
ABOUT = {
    "fit": "Train a method and keep its best checkpoint.",
    "validate": "Measure a checkpoint on the validation images.",
    "test": "Measure a checkpoint on the test images.",
    "predict": "Write the predicted number of each image to a CSV file.",
    "features": "Encode the images of a dataset once, for many runs.",
    "interpolate": "Go from a fit part of the way back to CLIP, as validation says.",
}


class Parser(LightningArgumentParser):
    """Lightning's parser with five differences.

    An abbreviated name is a misspelt name, the error after a renamed argument names the new one, errors are short,
    devices can be written down, as Lightning's own averages of weights have them, and values may be Python's.
    """

    def __init__(self, *args: Any, allow_abbrev: bool = False, **kwargs: Any) -> None:
        register_type(torch.device, fail_already_registered=False)
        super().__init__(*args, allow_abbrev=allow_abbrev, **kwargs)

    def parse_args(  # type: ignore[override]  # jsonargparse's own differs from argparse's
        self, args: Sequence[str] | None = None, *rest: Any, **kwargs: Any
    ) -> Namespace:
        """Parse words whose values may be Python's, `None` and `{'foreach': None}`.

        Agents of sweeps write them so, and so does jsonargparse, for the parser of a class inside: without this, `null`
        in a mapping of `--model.optimizer.args` would become the word `None`.

        Args:
            args: The words; None for those of the process.
            rest: As in the parser of jsonargparse.
            kwargs: Likewise.
        """
        _forget_traced_methods()
        words = None if args is None else with_plain_values(args)
        found: Namespace = super().parse_args(words, *rest, **kwargs)
        return found

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the usage and the message, and exit with code 2.

        Args:
            message: What is wrong.
            ex: The exception behind it.
        """
        text = _with_others(shorten(message))
        for old in re.findall(r"(\w+)' is not accepted", message):
            if old in _RENAMED:
                text += f"\n{old} was renamed: {_RENAMED[old]}."
        super().error(text, ex)
