"""A YAML file whose keys know their lines, for messages that say where something is wrong."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from numclip_lightning.errors import ConfigError, near_matches
from numclip_lightning.runs.config_files import readable_text

__all__ = ["Keys", "SpaceFile"]

# A way to a value: ("parameters", "model.weighting", "values").
Keys = tuple[str, ...]


class SpaceFile:
    """The content of a file, and the line of each of its keys.

    Args:
        path: The file.

    Attributes:
        content: What it holds.

    Raises:
        ConfigError: If it is missing, is not UTF-8 or no YAML, has no keys, or has one twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = readable_text("--space", str(path))
        self.content: dict[Any, Any] = yaml.safe_load(text)
        self._lines: dict[Keys, int] = {}
        self._number(yaml.compose(text, yaml.SafeLoader), ())

    def _number(self, node: yaml.Node | None, above: Keys) -> None:
        """Note the lines of all keys at and below a node."""
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            own = (*above, str(key.value))
            self._lines[own] = key.start_mark.line + 1
            self._number(value, own)

    def line(self, keys: Keys) -> int:
        """Return the line of a key, or else of the nearest one above it."""
        while keys and keys not in self._lines:
            keys = keys[:-1]
        return self._lines.get(keys, 1)

    def error(self, keys: Keys, problem: str) -> ConfigError:
        """Return an error about a key, with its place.

        Args:
            keys: The way to it.
            problem: What is wrong, and what to do.
        """
        return ConfigError(f"{self.path}, line {self.line(keys)}: {': '.join(keys)}: {problem}")

    def require_keys(self, keys: Keys, found: Iterable[Any], known: Iterable[str]) -> None:
        """Raise ConfigError unless all keys of a mapping are known.

        Args:
            keys: The way to the mapping.
            found: Its keys.
            known: Those that it may have.
        """
        known = list(known)
        for name in map(str, found):
            if name not in known:
                hint = near_matches(name, known, most=1) or f"; known here: {', '.join(known)}."
                raise self.error((*keys, name), f"not known{hint}")
