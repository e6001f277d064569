"""`numclip --completion SHELL`: a script with which a shell completes verbs, flags and their values.

The script is written once and holds all of them, so a press of TAB starts no Python.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any, Literal, get_args, get_origin, get_type_hints

import jsonargparse
import shtab

from numclip_lightning.errors import ConfigError, NumClipError

__all__ = ["SHELLS", "Loader", "completion", "parser_of"]

SHELLS = ("bash", "zsh", "fish")

Loader = Callable[[], Callable[[Sequence[str]], int]]

# Bash makes three words of `--key=value`, which shtab's function takes for two values. Without the middle one they are
# `--key value`, which it knows.
_BASH = """
_numclip_without_equals() {
  local words=() count=0 index word
  for index in "${!COMP_WORDS[@]}"; do
    word="${COMP_WORDS[index]}"
    if [ "$word" = = ]; then
      [ "$index" -eq "$COMP_CWORD" ] || continue
      word=""
    fi
    words+=("$word")
    [ "$index" -eq "$COMP_CWORD" ] && count=$((${#words[@]} - 1))
  done
  COMP_WORDS=("${words[@]}")
  COMP_CWORD=$count
  _shtab_numclip
}
complete -o bashdefault -F _numclip_without_equals numclip
"""


def completion(words: Sequence[str], verbs: Mapping[str, tuple[str, Loader]]) -> int:
    """Print the script of a shell: `numclip --completion bash`.

    Args:
        words: `--completion` and the name of a shell, or both joined by `=`.
        verbs: One line of help and a function that imports it, by verb.

    Returns:
        0.

    Raises:
        ConfigError: If the shell is none of `SHELLS`.
    """
    given = [part for word in words for part in word.split("=", 1)][1:]
    if len(given) != 1 or given[0] not in SHELLS:
        raise ConfigError(f"--completion takes the name of a shell: numclip --completion {'|'.join(SHELLS)}.")
    sys.stdout.write(_script(given[0], verbs))
    return 0


def parser_of(verb: Callable[[Sequence[str]], int]) -> argparse.ArgumentParser:
    """Return the parser of a verb: it is called with nothing, and stopped where it would parse.

    Args:
        verb: Its function.
    """
    parser: argparse.ArgumentParser = jsonargparse.capture_parser(verb, [])
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            # Lightning's own command line: a parser for the verb inside another.
            inner: argparse.ArgumentParser = next(iter(action.choices.values()))
            return inner
    return parser


def _script(shell: str, verbs: Mapping[str, tuple[str, Loader]]) -> str:
    """Return the script for all verbs."""
    top = argparse.ArgumentParser("numclip")
    top.add_argument("--version", action="store_true", help="the version of this program")
    top.add_argument("--completion", choices=SHELLS, help="print a script like this one")
    known = top.add_subparsers()
    for name, (about, load) in verbs.items():
        plain = known.add_parser(name, help=about, description=about)
        try:
            parser = parser_of(load())
        except NumClipError as error:
            # An extra is missing: the verb is completed, its flags are not.
            sys.stderr.write(f"numclip: {error}\n")
            continue
        for action in parser._actions:
            _copy(action, plain)
    script: str = shtab.complete(top, shell)
    if shell == "zsh":
        # A flag is written `--key=` there if `--key value` and `--key=value` are both to be completed.
        script = re.sub(r'^(\s*"--[\w.]+)(\[.*\]:)', r"\1=\2", script, flags=re.MULTILINE)
    return script + "\n" + _BASH if shell == "bash" else script


def _copy(action: argparse.Action, plain: argparse.ArgumentParser) -> None:
    """Add an argument of a verb, and what it holds, to a parser that knows names and values alone."""
    if action.help == argparse.SUPPRESS or action.dest == "help":
        return
    # The type is kept by jsonargparse, which has no public name for it.
    kind = getattr(action, "_typehint", None)
    classes = _classes(kind)
    about = re.split(r"(?<=[.;:])\s|\s\((?:required|type|default)", " ".join((action.help or "").split()))[0]
    choices = _choices(kind) or sorted(cls.__name__ for cls in classes)
    _add(plain, action.option_strings or [action.dest], kind, choices, about.rstrip(";:").replace("%", "%%"))
    if not action.dest.endswith(".help"):
        for cls in classes:
            _add_fields(plain, f"--{action.dest}", cls)


def _add_fields(plain: argparse.ArgumentParser, flag: str, cls: type) -> None:
    """Add the keys of a class, such as `--model.tolerance`, and those of the settings in them."""
    hints = get_type_hints(cls)
    for field in fields(cls):
        name = f"{flag}.{field.name}"
        if not field.init or name in plain._option_string_actions:
            continue
        kind = hints.get(field.name)
        _add(plain, [name], kind, _choices(kind), "")
        for inner in (kind, *get_args(kind)):
            if inspect.isclass(inner) and is_dataclass(inner):
                _add_fields(plain, name, inner)


def _add(
    plain: argparse.ArgumentParser, names: Sequence[str], kind: Any, choices: Sequence[str] | None, help_text: str
) -> None:
    """Add one argument: its values are listed, or files where it takes a text, which may be a path."""
    added = plain.add_argument(*names, choices=choices or None, help=help_text or None)
    if not choices and _takes_text(kind):
        added.complete = shtab.FILE  # type: ignore[attr-defined]


def _classes(kind: Any) -> list[type]:
    """Return the classes of ours that can stand for a type, such as every method for `OrdinalMethod`; each once."""
    waiting = [part for part in (kind, *get_args(kind)) if inspect.isclass(part) and is_dataclass(part)]
    found: list[type] = []
    while waiting:
        for cls in waiting.pop().__subclasses__():
            if cls not in found and cls.__module__.startswith("numclip_lightning."):
                found.append(cls)
                waiting.append(cls)
    return [cls for cls in found if not cls.__name__.startswith("_") and not inspect.isabstract(cls)]


def _choices(kind: Any) -> list[str]:
    """Return the values of a type that has few: `Literal`, `bool`, None beside them; else an empty list."""
    if kind is bool:
        return ["true", "false"]
    if get_origin(kind) is Literal:
        return [str(value) for value in get_args(kind)]
    parts = [part for part in get_args(kind) if part is not type(None)]
    found = [_choices(part) for part in parts] if get_origin(kind) is not list else []
    return [value for values in found for value in values] if found and all(found) else []


def _takes_text(kind: Any) -> bool:
    """Say whether a value can be a text or a path; of arguments without a type we don't know it, and say yes."""
    known = kind is None or kind is str or (inspect.isclass(kind) and issubclass(kind, PurePath))
    return known or any(_takes_text(part) for part in get_args(kind) if part is not type(None))
