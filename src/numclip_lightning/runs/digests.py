"""What a run of a benchmark is, in eight letters: its folder is found again until something about it changes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.code import own_sources

__all__ = ["found_folder", "overlap"]


def found_folder(
    parent: Path, start: str, words: Sequence[str], first: Sequence[str], files: Sequence[str], args: Mapping[str, Any]
) -> Path:
    """Return the folder of a run: `START-DIGEST`, or the one that an earlier version has made for it.

    The digest is of the merged arguments, whatever their order and wherever they were written; of what the
    configuration files say, without their comments, names and folders; and of the user's own classes among them.

    Args:
        parent: The folder around it.
        start: The start of its name.
        words: All words, as the digest of earlier versions had them.
        first: Those of them that are neither a file nor an argument.
        files: The configuration files, later ones over earlier ones.
        args: The arguments by their names with dots, later ones over earlier ones.

    Raises:
        ConfigError: If a file can't be read.
    """
    contents = [_content(file) for file in files]
    sources = [file.read_text(encoding="utf-8") for file in own_sources([*contents, dict(args)])]
    folder = parent / f"{start}-{_digest([[*first], contents, _layers(args), sources])}"
    if folder.exists():
        return folder
    # Up to 0.2.0: of the words as they come, so that the order of arguments and the names of files counted.
    earlier = parent / f"{start}-{_digest([[*words], contents, *([sources] if sources else [])])}"
    return earlier if earlier.exists() else folder


def _digest(whole: Any) -> str:
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _layers(args: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write arguments in one way for all orders that mean the same.

    Only where a name is a part of another one does it matter which comes last: `model.optimizer` replaces what
    `model.optimizer.name` has set. Such names are in layers of their own, later ones over earlier ones; the order
    within a layer means nothing.
    """
    layers: list[dict[str, Any]] = []
    depths: dict[str, int] = {}
    for given, value in args.items():
        # Both spellings are one argument, and so are 1 and "1", as both are the same word.
        name = given.replace(".init_args.", ".")
        depth = max((depth + 1 for other, depth in depths.items() if overlap(name, other)), default=0)
        depths[name] = max(depth, depths.get(name, 0))
        if depth == len(layers):
            layers.append({})
        layers[depth][name] = _read(value)
    return layers


def overlap(name: str, other: str) -> bool:
    """Return whether one of two arguments holds the other one; a configuration file may hold anything."""
    return "config" in (name, other) or f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}.")


def _read(value: Any) -> Any:
    """Return a value as the command line reads its word."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _content(file: str) -> Any:
    """Return what a configuration says."""
    try:
        return _parsed(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the configuration {file!r} can't be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"the configuration {file!r} is no YAML: {error}") from error


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    """Parse a configuration once, not for each of thousands of runs; nobody changes what is returned."""
    return yaml.safe_load(text)
