"""Configuration files as users have them: missing, in other encodings or no YAML, found before the long imports."""

import codecs
from collections.abc import Sequence
from pathlib import Path

import yaml

from numclip_lightning.errors import ConfigError
from numclip_lightning.plain import TOO_DEEP
from numclip_lightning.runs.shipped import config_path

__all__ = ["readable_text", "with_readable_configs"]

_FLAGS = ("--config", "-c")
# In this order: the mark of UTF-32 (little-endian) starts with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def with_readable_configs(words: Sequence[str]) -> list[str]:
    """Check the files behind `--config`; put the text of those in UTF-16 or UTF-32 in place of their names.

    Configurations that come with the package (`configs/methods/coop.yaml`) are found from any folder.

    Args:
        words: The words after the verb.

    Raises:
        ConfigError: If a file is missing, is neither UTF-8 nor starts with the mark of another encoding, is no YAML
            with sections, or has a key twice, of which YAML would keep the last.
    """
    found = list(words)
    for i, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag not in _FLAGS:
            continue
        place = i if equals else i + 1
        if place < len(words):
            name = config_path(value if equals else words[place])
            read = _text_of_other_encoding(name) or name
            found[place] = f"{flag}={read}" if equals else read
    return found


def readable_text(flag: str, name: str) -> str:
    """Return the text of a file of YAML.

    Args:
        flag: The flag that names it, for messages: `"--space"`.
        name: The file.

    Raises:
        ConfigError: If it can't be read, see `with_readable_configs`.
    """
    file = Path(config_path(name)).expanduser()
    if not file.is_file():
        what = "is a folder" if file.is_dir() else f"is no file in {Path.cwd()}"
        raise ConfigError(f"{flag} {name} {what}; give a file of YAML or JSON.")
    content = file.read_bytes()
    encoding = next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "UTF-8")
    text = _decoded(f"{flag} {name}", content, encoding)
    _check_yaml(f"{flag} {name}", text)
    return text


def _text_of_other_encoding(name: str) -> str | None:
    """Return the text of a file in UTF-16 or UTF-32; None for UTF-8, and for a value that is YAML itself."""
    if "\n" in name or name.lstrip().startswith("{"):
        return None
    file = Path(name).expanduser()
    if file.is_dir():
        raise ConfigError(f"--config {name} is a folder; give a file of YAML or JSON.")
    if not file.exists() and ": " not in name:
        raise ConfigError(f"--config {name}: no such file in {Path.cwd()}; correct the path.")
    if not file.is_file():
        # A pipe of the shell, which can be read once only, or YAML itself.
        return None
    text = readable_text("--config", name)
    with file.open("rb") as start:
        marked = start.read(4).startswith(tuple(mark for mark, _ in _MARKS))
    return text if marked else None


def _decoded(name: str, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{name}: line {line} is not {encoding}; it may be in an encoding of Windows such as cp1252: "
            "save it as UTF-8."
        ) from error


def _check_yaml(name: str, text: str) -> None:
    """Raise ConfigError unless a text is YAML with sections and each key once."""
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        tabs = "; indent with blanks, not with tabs" if "'\\t'" in str(error.problem) else ""
        raise ConfigError(f"{name}: {line}this is no YAML: {error.problem}{tabs}.") from error
    except (yaml.YAMLError, RecursionError) as error:
        reason = TOO_DEEP if isinstance(error, RecursionError) else error
        raise ConfigError(f"{name}: this is no YAML: {reason}") from error
    if not isinstance(root, yaml.MappingNode):
        what = "is empty" if root is None else "is no configuration"
        raise ConfigError(f"{name} {what}; give a file with sections such as model: and data:.")
    if twice := _doubled_key(root, set()):
        first, second = (node.start_mark.line + 1 for node in twice)
        raise ConfigError(f"{name}: line {second}: {twice[1].value!r} is there twice, first in line {first}; keep one.")


def _doubled_key(node: yaml.Node, seen: set[int]) -> tuple[yaml.Node, yaml.Node] | None:
    """Return two equal keys of one mapping at or below a node; anchors may make it a circle."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return None
    seen.add(id(node))
    below: list[yaml.Node] = []
    first: dict[str, yaml.Node] = {}
    for entry in node.value:
        if not isinstance(entry, tuple):
            below.append(entry)
            continue
        key, value = entry
        below.append(value)
        if isinstance(key, yaml.ScalarNode) and key.value != "<<" and first.setdefault(key.value, key) is not key:
            return first[key.value], key
    return next((found for child in below if (found := _doubled_key(child, seen))), None)
