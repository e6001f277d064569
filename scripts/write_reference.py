"""The pages of reference that are read from the program itself: every verb from its parser, every key from its class.

The site calls this while it is built (scripts/docs_hooks.py), so that these pages can't fall behind.

    python scripts/write_reference.py FOLDER    # writes verbs.md and keys.md there, to read them without a site
"""

import argparse
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args

import docstring_parser

from numclip_lightning import cli, data, methods
from numclip_lightning.commands.completion import parser_of

# Lightning's own arguments are in its documentation; the rest of these are on the page of keys.
_ELSEWHERE = ("trainer", "model", "data", "optimizer", "lr_scheduler")
_LIKE_FIT = ("validate", "test", "predict", "interpolate", "features", "sweep")
_TRAINER = "https://lightning.ai/docs/pytorch/stable/common/trainer.html"


def verbs_page() -> str:
    """Return the page of verbs: what each does, and a table of its flags."""
    parts = [
        "# Verbs",
        "Every verb is called `numclip VERB --KEY=VALUE ...`, has `--help`, and ends with a code of "
        "[this list](files.md#exit-codes). "
        "`fit`, `validate`, `test` and `predict` also take the keys of [methods and data](keys.md) and of "
        f"[Lightning's trainer]({_TRAINER}), from files (`--config`, several are merged) and as flags.",
    ]
    of_fit = [_flag(action) for action in _flags(parser_of(cli.load("fit")))]
    for name, verb in cli.VERBS.items():
        about = verb.help + (f" Needs `pip install 'numclip-lightning[{verb.extra}]'`." if verb.extra else "")
        rows = [_flag(action) for action in _flags(parser_of(cli.load(name)))]
        if name in _LIKE_FIT:
            about += " Takes flags of [fit](#fit) too, as far as they have a meaning for it."
            rows = [row for row in rows if row not in of_fit]
        parts += [
            f"## {name}",
            about,
            _table(("flag", "default", "what it is"), rows) if rows else "It has no flags of its own.",
        ]
    return "\n\n".join(parts) + "\n"


def _flags(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments that are the verb's own."""
    for action in parser._actions:
        name = action.dest
        if action.help == argparse.SUPPRESS or name in ("help", "print_config") or name.endswith(".help"):
            continue
        if action.help == "Path to a configuration file.":
            # A group as a whole, which may be a file; its keys follow.
            continue
        if name.split(".")[0] not in _ELSEWHERE and not name.startswith("print_"):
            yield action


def _flag(action: argparse.Action) -> tuple[str, str, str]:
    """Return the row of an argument."""
    name = max(action.option_strings, key=len, default=action.dest)
    default = action.default
    shown = "" if default is None or default == argparse.SUPPRESS else f"`{default}`"
    help_text = re.sub(r"\s*\((required|type|default).*?%\(.*?\)s.*?\)|%\(default\)s", "", action.help or "")
    # Lightning's texts go on with examples and warnings, of which a table shows the beginning.
    help_text = re.split(r"\s(?:\.\.\s|>>>|Example:)", " ".join(help_text.split()))[0]
    help_text = re.sub(r"^(.{200,}?[.!?])\s.*", r"\1", help_text) if "``" in help_text else help_text
    if action.choices and not isinstance(action.choices, dict):
        help_text += f" One of {', '.join(map(str, action.choices))}."
    return f"`{name}`", shown, _line(help_text)


def keys_page() -> str:
    """Return the page of keys: the arguments of every method and datamodule, and of the settings inside them."""
    parts = [
        "# Keys of configurations",
        "`model.KEY` and `data.KEY`, in a file below `init_args` and on the command line as `--model.KEY=VALUE`. A "
        "misspelt key or a value of another kind is refused before anything is built. The same texts: "
        "`numclip fit --model.help NumCLIP`, `numclip fit --data.help ListDataModule`. "
        "Keys that a class takes from the one it is built on stand there.",
    ]
    settings: dict[str, type] = {}
    for title, module in (("Methods: `model.class_path`", methods), ("Data: `data.class_path`", data)):
        parts.append(f"## {title}")
        for cls in _classes(module):
            parts += [f"### {cls.__name__}", *_class_part(cls, settings)]
    parts.append("## Settings inside them")
    done: set[str] = set()
    while waiting := [name for name in sorted(settings) if name not in done]:
        for name in waiting:
            done.add(name)
            parts += [f"### {name}", *_class_part(settings[name], settings)]
    return "\n\n".join(parts) + "\n"


def _classes(module: Any) -> list[type]:
    """Return the classes that a package exports, each after those that it is built on."""
    found = {getattr(module, name) for name in module.__all__ if inspect.isclass(getattr(module, name))}
    public = {parent for cls in found for parent in cls.__mro__ if parent.__module__.startswith(module.__name__)}
    roots = tuple(_roots(found))
    chosen: list[type] = [cls for cls in public if issubclass(cls, roots) and hasattr(cls, "__dataclass_fields__")]
    return sorted(chosen, key=lambda cls: (len(cls.__mro__), cls.__name__))


def _roots(found: Iterable[type]) -> list[type]:
    """Return the base classes whose subclasses a configuration can name."""
    return [cls for cls in found if cls.__name__ in ("OrdinalMethod", "OrdinalDataModule")] or list(found)


def _class_part(cls: type, settings: dict[str, type]) -> list[str]:
    """Return what stands below the heading of a class; note the settings that its keys hold."""
    document = docstring_parser.parse(inspect.getdoc(cls) or "", style=docstring_parser.DocstringStyle.GOOGLE)
    parts = [_line(document.short_description or "")]
    parents = [base.__name__ for base in cls.__bases__ if is_dataclass(base)]
    if parents:
        parts.append("Takes the keys of " + ", ".join(f"[{name}](#{name.lower()})" for name in parents) + " too.")
    parameters = inspect.signature(cls).parameters
    rows = []
    for argument in document.params:
        parameter = parameters.get(argument.arg_name)
        if argument.args[0] != "param" or parameter is None:
            continue
        _note(parameter.annotation, settings)
        rows.append(
            (
                f"`{argument.arg_name}`",
                _kind(parameter.annotation),
                _default(parameter),
                _line(argument.description or ""),
            )
        )
    return [*parts, _table(("key", "kind", "default", "what it is"), rows)] if rows else parts


def _note(annotation: Any, settings: dict[str, type]) -> None:
    """Keep every settings class of this project in an annotation."""
    for part in (annotation, *get_args(annotation)):
        if inspect.isclass(part) and is_dataclass(part) and part.__module__.startswith("numclip_lightning"):
            settings[part.__name__] = part


def _kind(annotation: Any) -> str:
    """Return an annotation as people read it."""
    text = annotation.__name__ if inspect.isclass(annotation) and not get_args(annotation) else str(annotation)
    text = re.sub(r"typing\.|collections\.abc\.|pathlib\.|numclip_lightning(\.\w+)*\.", "", text)
    text = re.sub(r"Literal\[(.*?)\]", lambda found: found[1].replace("'", "").replace(", ", " | "), text)
    return f"`{text}`".replace("|", "or")


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return "none, give it"
    shown = "null" if parameter.default is None else str(parameter.default)
    if is_dataclass(parameter.default) or shown.startswith("<"):
        return "below"
    return f"`{shown}`".replace("|", "\\|")


def _line(text: str) -> str:
    """Return a text for a cell: one line, without what Markdown would read as a cell or a tag."""
    line = " ".join(text.split()).replace("|", "\\|")
    # Outside code: an even number of marks follows.
    return re.sub(r"<(?=[^`]*(?:`[^`]*`[^`]*)*$)", "&lt;", line)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def main() -> int:
    """Write both pages into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write them")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in (("verbs.md", verbs_page()), ("keys.md", keys_page())):
        (folder / name).write_text(page, encoding="utf-8")
        print(f"{folder / name} is written.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
