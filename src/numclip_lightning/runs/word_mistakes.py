"""All names and values in the words of a command that can't be, with near names: the parser stops at the first one."""

import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import lightning as L
import yaml
from jsonargparse import ArgumentError, ArgumentParser
from lightning.pytorch.callbacks import ModelCheckpoint

import numclip_lightning.data
import numclip_lightning.methods
from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.errors import near_matches
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.runs.checkpoints import BestCheckpoint
from numclip_lightning.runs.mistakes import SECTIONS, find_class
from numclip_lightning.runs.shorten import shorten

__all__ = ["Source", "sources_of", "word_mistakes"]

_BASES: dict[str, type] = {"model": OrdinalMethod, "data": OrdinalDataModule}
_TYPED: dict[str, tuple[Any, ...]] = {
    "trainer": (L.Trainer,),
    "checkpoint": (BestCheckpoint, ModelCheckpoint),
    **{section: (kind,) for section, kind in SECTIONS.items()},
}


class Source(NamedTuple):
    """One file or flag.

    Attributes:
        where: Its name for people: `"--config mine.yaml"`, `"--model.decode"`.
        tree: What it gives, nested.
        raw: The text of a flag's value, as the shell gives it; None for a file.
    """

    where: str
    tree: Mapping[str, Any]
    raw: str | None = None


def word_mistakes(words: Sequence[str]) -> list[str]:
    """Return a line for each unknown name and each value of a wrong type, in the order of the words.

    Args:
        words: The words after the verb. What can't be read at all is passed over: the parser says so.
    """
    found: list[str] = []
    kinds: dict[str, Any] = {}
    for source in sources_of(words):
        for section, value in source.tree.items():
            if section in _BASES:
                found += _class_mistakes(source, section, value, kinds)
            elif section in _TYPED and isinstance(value, Mapping):
                found += _mistakes(source, section, value, _types_of(*_TYPED[section]))
    return list(dict.fromkeys(found))


def sources_of(words: Sequence[str]) -> Iterator[Source]:
    """Yield the files and flags among the words, in order; those that can't be read are left out."""
    rest = iter(words)
    for word in rest:
        flag, equals, text = word.partition("=")
        if not flag.startswith("-"):
            continue
        if not equals:
            text = next(rest, "")
        if flag.endswith("+"):  # one more of a list, whose type is not that of the flag
            continue
        if flag in ("--config", "-c"):
            with suppress(OSError, ValueError, yaml.YAMLError):
                tree = yaml.safe_load(Path(text).expanduser().read_text(encoding="utf-8"))
                if isinstance(tree, Mapping):
                    yield Source(f"--config {text}", tree)
            continue
        with suppress(yaml.YAMLError):
            value = yaml.safe_load(text) if text else text
            for key in reversed(flag.lstrip("-").split(".")):
                value = {key: value}
            yield Source(flag, cast("Mapping[str, Any]", value), text)


def _class_mistakes(source: Source, section: str, value: Any, kinds: dict[str, Any]) -> list[str]:
    """Return the mistakes of a `model` or `data` section; the class that it names is kept in `kinds`."""
    if isinstance(value, str):
        value = {"class_path": value}
    if not isinstance(value, Mapping):
        return []
    given = dict(value)
    if isinstance(path := given.pop("class_path", None), str):
        kinds[section] = find_class(path, _BASES[section])
        if kinds[section] is None and "." not in path:
            home = numclip_lightning.methods if section == "model" else numclip_lightning.data
            return [f"{section}: there is no {path!r}{near_matches(path, home.__all__) or '.'} ({source.where})"]
    kind = kinds.get(section)
    arguments = {**given, **(given.pop("init_args", None) or {})}
    arguments.pop("init_args", None)
    if not isinstance(kind, type) or not is_dataclass(kind):
        return []
    return _mistakes(source, section, arguments, _types_of(cast("Any", kind)), kind.__name__)


def _mistakes(
    source: Source, path: str, values: Mapping[str, Any], known: Mapping[str, Any], of: str = ""
) -> list[str]:
    """Return the mistakes of a mapping of arguments, and of those that are mappings of arguments themselves."""
    found = []
    for name, value in values.items():
        where = f"{path}.{name}"
        if name not in known:
            taker = f"{of} takes" if of else "there is"
            hint = near_matches(str(name), known, most=1)
            found.append(f"{where}: {taker} no {name!r}{hint or '.'} ({source.where})")
            continue
        kind = known[name]
        if is_dataclass(kind) and isinstance(value, Mapping):
            found += _mistakes(source, where, value, _types_of(cast("Any", kind)))
        elif reason := _misfit(kind, value, source.raw if not isinstance(value, Mapping) else None):
            found.append(f"{where}: {reason} ({source.where})")
    return found


def _misfit(kind: Any, value: Any, raw: str | None) -> str | None:
    """Return why a value is none of a type; None if it is, or if the type is not known."""
    if kind is inspect.Parameter.empty or kind is Any:
        return None
    try:
        parser = _parser_of(kind)
    except (TypeError, ValueError, AttributeError):
        return None
    try:
        # What else than a misfit it raises, the run's own parser will raise too.
        with suppress(TypeError, ValueError, AttributeError, KeyError, ImportError):
            parser.parse_object({"value": value}) if raw is None else parser.parse_args([f"--value={raw}"])
    except ArgumentError as error:
        if isinstance(kind, types.UnionType) and not isinstance(value, Mapping | list):
            return f"expected {_in_words(kind)}. Got value: {value if raw is None else raw}"
        text = shorten(str(error)).partition('Parser key "value":')[2] or shorten(str(error))
        return " ".join(text.split())
    return None


def _in_words(kind: Any) -> str:
    """Return a type for people: `float | None` is "float or null"."""
    if isinstance(kind, types.UnionType):
        return " or ".join(map(_in_words, typing.get_args(kind)))
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(map(str, typing.get_args(kind)))
    return "null" if kind is type(None) else getattr(kind, "__name__", str(kind))


@lru_cache(maxsize=512)
def _parser_of(kind: Any) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=kind)
    return parser


@lru_cache(maxsize=128)
def _types_of(*kinds: Any) -> dict[str, Any]:
    """Return the types of the arguments of classes by name."""
    found: dict[str, Any] = {}
    for kind in kinds:
        if is_dataclass(kind):
            found |= {argument.name: argument.type for argument in fields(kind) if argument.init}
            continue
        try:
            hints = typing.get_type_hints(kind.__init__)
        except (NameError, TypeError):
            hints = {}
        for name, parameter in inspect.signature(kind).parameters.items():
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                found[name] = hints.get(name, inspect.Parameter.empty)
    return found
