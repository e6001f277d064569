"""Which code makes the runs."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["COMMIT", "VERSIONS", "own_sources"]

# What has a commit or a version of its own.
_KNOWN = {__name__.partition(".")[0], *sys.stdlib_module_names}
_INSTALLED = {"site-packages", "dist-packages"}


def _commit() -> str | None:
    """Return the commit of this code, marked where files differ from it; None where it isn't run from a clone."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


# As they are when the code is read: what is committed or installed while a benchmark runs is not in its runs.
COMMIT = _commit()
VERSIONS = {name: version(name) for name in ("numclip_lightning", "torch", "lightning", "open_clip_torch")}


def own_sources(config: Any) -> list[Path]:
    """Return the files of the classes that a configuration names by dotted paths and that are the user's own.

    This package and what is installed are left out, a record names their commit and versions.

    Args:
        config: Mappings and lists, as YAML gives them. A path stands under `class_path`, `model` or `data`.

    Returns:
        The files, sorted; of classes that can't be found none, as the run itself says that best.
    """
    found = {_find(path) for path in _class_paths(config) if path.partition(".")[0] not in _KNOWN}
    return sorted(file for file in found if file and not _INSTALLED & set(file.parts))


def _class_paths(config: Any, name: str = "") -> Iterator[str]:
    if isinstance(config, dict):
        for key, value in config.items():
            yield from _class_paths(value, str(key).rpartition(".")[2])
    elif isinstance(config, list):
        for value in config:
            yield from _class_paths(value)
    elif isinstance(config, str) and name in ("class_path", "model", "data"):
        yield config


def _find(class_path: str) -> Path | None:
    """Return the file of a class without importing anything, which may fail or do something."""
    places, origin = sys.path, None
    for name in class_path.split(".")[:-1]:
        spec = PathFinder.find_spec(name, places)
        if spec is None:
            return None
        places, origin = spec.submodule_search_locations or [], spec.origin
    return Path(origin) if origin and origin.endswith(".py") else None
