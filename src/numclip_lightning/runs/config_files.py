"""Configuration files as users have them: missing ones and other encodings, found before anything is imported."""

import codecs
from collections.abc import Sequence
from pathlib import Path

from numclip_lightning.errors import ConfigError

__all__ = ["with_readable_configs"]

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

    Args:
        words: The words after the verb.

    Raises:
        ConfigError: If a file is missing, or is neither UTF-8 nor starts with the mark of another encoding.
    """
    found = list(words)
    for i, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag not in _FLAGS:
            continue
        place = i if equals else i + 1
        if place < len(words):
            text = _text_of_other_encoding(value if equals else words[place])
            if text is not None:
                found[place] = f"{flag}={text}" if equals else text
    return found


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
    content = file.read_bytes()
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _decoded(name, content, encoding)
    _decoded(name, content, "UTF-8")
    return None


def _decoded(name: str, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"--config {name}: line {line} is not {encoding}; it may be in an encoding of Windows such as cp1252: "
            "save it as UTF-8."
        ) from error
