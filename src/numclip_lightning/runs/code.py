"""The code that makes the runs: its commit, versions, and files of the user's own."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["CodeVersion", "current_code", "own_sources"]

_PACKAGES = ("numclip_lightning", "torch", "lightning", "open_clip_torch")
# What has a commit or a version of its own.
_KNOWN = {__name__.partition(".")[0], *sys.stdlib_module_names}
_INSTALLED = {"site-packages", "dist-packages"}


class CodeVersion(NamedTuple):
    """The code that makes a run.

    Attributes:
        commit: The commit of this package, marked if files differ from it; None if it isn't run from a clone.
        versions: The versions of this package and of the libraries that decide about results.
    """

    commit: str | None
    versions: dict[str, str]


def current_code() -> CodeVersion:
    """Look up the code as it is now; call it once at the start, since a clone may change while a benchmark runs."""
    return CodeVersion(_commit(), {name: version(name) for name in _PACKAGES})


def _commit() -> str | None:
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def own_sources(config: Any) -> list[Path]:
    """Find the files of the user's own classes that a configuration names by dotted paths.

    This package and installed ones are left out; a record names their commit and versions.

    Args:
        config: Mappings and lists, as YAML gives them. A path is the value of `class_path`, `model` or `data`.

    Returns:
        The files, sorted. Classes that can't be found are left out; the run itself reports them best.
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
    """Return the file of a class without importing it, which could fail or have side effects."""
    places, origin = sys.path, None
    for name in class_path.split(".")[:-1]:
        spec = PathFinder.find_spec(name, places)
        if spec is None:
            return None
        places, origin = spec.submodule_search_locations or [], spec.origin
    return Path(origin) if origin and origin.endswith(".py") else None
