"""The mistakes of all methods of a benchmark, before its first run: no weights are read, no data either."""

from collections.abc import Mapping, Sequence
from typing import Any

from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.progress import watched
from numclip_lightning.runs.learns import merged
from numclip_lightning.runs.mistakes import find_class, mistakes_of
from numclip_lightning.runs.planned import PlannedRun
from numclip_lightning.runs.word_mistakes import sources_of, word_mistakes

__all__ = ["refuse_planned_mistakes"]


def refuse_planned_mistakes(runs: Sequence[PlannedRun]) -> None:
    """Raise one error with the mistakes of all runs, each with the methods and datasets that have it.

    Args:
        runs: Runs and trials. Those of one method on one dataset differ in seed, fold and shots alone, and one of them
            is looked at, but for trials.

    Raises:
        ConfigError: If there are any.
    """
    places: dict[str, list[str]] = {}
    kinds: dict[tuple[str, str], PlannedRun] = {}
    for run in runs:
        name = f"{run.method} ({trial})" if (trial := getattr(run, "trial", "")) else run.method
        kinds.setdefault((run.dataset, name), run)
    for (_, name), run in watched(kinds.items(), len(kinds), "looking for mistakes", "method"):
        for mistake in _mistakes_of(run):
            places.setdefault(mistake, []).append(f"{name} on {run.dataset}")
    if places:
        lines = (f"\n- {_few(where)}: {mistake}" for mistake, where in places.items())
        raise ConfigError(
            f"nothing was run, because of {len(places)} mistakes (--on_mistakes=run lets these fail by themselves):"
            + "".join(lines)
        )


def _mistakes_of(run: PlannedRun) -> list[str]:
    verb, words = run.words[0], run.words[1:]
    if _has_own_classes(words):
        return []
    found = word_mistakes(words)
    return found or [str(mistake) for mistake in mistakes_of(_sections(words), verb)]


def _has_own_classes(words: Sequence[str]) -> bool:
    """Return whether a class is the user's own: what importing it does must not end the benchmark."""
    for source in sources_of(words):
        for section in ("model", "data"):
            value = source.tree.get(section)
            path = value.get("class_path") if isinstance(value, Mapping) else value
            if isinstance(path, str) and "." in path and not path.startswith("numclip_lightning."):
                return True
    return False


def _sections(words: Sequence[str]) -> dict[str, Any]:
    """Return the sections of a run as its files and flags give them, later ones over earlier ones."""
    whole: dict[str, Any] = {}
    for source in sources_of(words):
        for section, value in source.tree.items():
            below, whole_args = whole.get(section) or {}, ".args." not in source.where
            if section in ("model", "data"):
                whole[section] = _class_section(section, below, value, whole_args=whole_args)
            elif isinstance(value, Mapping):
                whole[section] = merged(below, value, whole_args=whole_args)
    return whole


def _class_section(section: str, below: Mapping[str, Any], value: Any, *, whole_args: bool) -> dict[str, Any]:
    """Return a section with a class, with another one on top; arguments that a new class lacks are passed over."""
    if isinstance(value, str):
        value = {"class_path": value}
    rest = {key: found for key, found in (value or {}).items() if key not in ("class_path", "init_args")}
    above: dict[str, Any] = {"init_args": {**rest, **((value or {}).get("init_args") or {})}}
    if "class_path" in (value or {}):
        above["class_path"] = value["class_path"]
    whole = merged(below, above, whole_args=whole_args)
    kind = find_class(whole.get("class_path"), OrdinalMethod if section == "model" else OrdinalDataModule)
    taken = {name for base in getattr(kind, "__mro__", ()) for name in getattr(base, "__annotations__", {})}
    if kind is not None:
        whole["init_args"] = {name: found for name, found in whole["init_args"].items() if name in taken}
    return whole


def _few(places: Sequence[str], most: int = 3) -> str:
    more = f" and {len(places) - most} more" if len(places) > most else ""
    return ", ".join(places[:most]) + more
