"""What a benchmark's file can't mean: unknown keys, and entries that are no entries, said in words for its writer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from numclip_lightning.errors import ConfigError, near_matches
from numclip_lightning.runs.benchmark import Benchmark
from numclip_lightning.runs.entries import CrossEntry, DatasetEntry, EnsembleEntry, MeanEntry, MethodEntry
from numclip_lightning.runs.word_mistakes import Source, sources_of

__all__ = ["refuse_benchmark_mistakes"]

_ENTRIES: dict[str, type] = {
    "datasets": DatasetEntry,
    "methods": MethodEntry,
    "ensembles": EnsembleEntry,
    "means": MeanEntry,
}
_EXAMPLES = {
    "datasets": "NAME: {config: configs/counting.yaml}",
    "methods": "NAME: {config: configs/methods/coop.yaml}",
    "ensembles": "NAME: {of: [METHOD, METHOD]}",
    "means": "NAME: {of: [DATASET, DATASET]}",
    "tests": "NAME: {config: configs/agedb.yaml}",
}
# Flags that are no part of a benchmark.
_OTHER_FLAGS = {"config", "c", "report_only", "help", "h", "print_config"}
# A file with any of them is the configuration of one run.
_SECTIONS = ("model", "data", "trainer")


def refuse_benchmark_mistakes(words: Sequence[str]) -> None:
    """Raise one error with all mistakes in the keys of a benchmark.

    The parser would name a type where an example helps, take `config` for a part of the file itself, and pass over an
    unknown key whose value is empty.

    Args:
        words: The words after `numclip benchmark`.

    Raises:
        ConfigError: If there are any.
    """
    found = [f"{mistake} ({source.where})" for source in sources_of(words) for mistake in _mistakes(source)]
    if len(found) == 1:
        raise ConfigError(found[0])
    if found:
        raise ConfigError(f"the benchmark has {len(found)} mistakes:" + "".join(f"\n- {line}" for line in found))


def _mistakes(source: Source) -> Iterator[str]:
    """Yield the mistakes of one file or flag."""
    is_file, known = source.raw is None, [field.name for field in fields(Benchmark)]
    unknown = [key for key in source.tree if key not in known]
    if is_file and any(key in _SECTIONS for key in unknown):
        yield (
            "this is the configuration of one run, and no benchmark; give it to numclip fit, or name it in a "
            "benchmark, as datasets: {NAME: {config: FILE}}"
        )
        return
    for key in unknown:
        if is_file and key == "config":
            yield _own_config(source.tree[key])
        elif is_file or key not in _OTHER_FLAGS:
            yield f"a benchmark has no {key!r}{near_matches(str(key), [*known, 'report_only'], most=1) or _all(known)}"
    # A flag's dots may be those of a name.
    if is_file or "." not in source.where:
        for key, kind in _ENTRIES.items():
            yield from _entry_mistakes(key, key, source.tree.get(key, {}), kind)


def _own_config(value: Any) -> str:
    file = str(value) if isinstance(value, str) else "FILE"
    return (
        "a benchmark has no 'config' of its own: each dataset names the configuration of its runs, "
        f"datasets: {{{Path(file).stem}: {{config: {file}}}}}, and each method may name an overlay; arguments of every "
        "run are args, and another benchmark is one more --config"
    )


def _entry_mistakes(where: str, key: str, entries: Any, kind: type) -> Iterator[str]:
    """Yield the mistakes of entries by their names."""
    if not isinstance(entries, Mapping):
        yield f"{where} is {_shown(entries)}; give a name to each: {key}: {{{_EXAMPLES[key]}}}"
        return
    known = [field.name for field in fields(kind)]
    for name, entry in entries.items():
        if not isinstance(entry, Mapping):
            yield f"{where}: {name!r} is {_shown(entry)}; give {_instead(key, name, entry)}"
            continue
        if "class_path" in entry:
            continue
        for given in entry:
            if given not in known:
                yield f"{where}: {name!r} has {given!r}, which no entry has{_hint(str(given), known)}"
        if kind is DatasetEntry:
            yield from _entry_mistakes(f"tests of {name!r}", "tests", entry.get("tests", {}), CrossEntry)


def _instead(key: str, name: str, entry: Any) -> str:
    """Return what an entry that is no mapping may have meant."""
    if key == "methods" and entry is None:
        return f"{name}: {{}} for the method of the dataset's configuration, or {name}: {{config: FILE}}"
    if isinstance(entry, str) and "config: " in _EXAMPLES[key]:
        return f"{name}: {{config: {entry}}}"
    return _EXAMPLES[key].replace("NAME", str(name))


def _hint(given: str, known: Sequence[str]) -> str:
    if "args" in known and given.partition(".")[0] in ("seed_everything", "length", "early_stopping", *_SECTIONS):
        return f"; arguments of runs belong below args: {{args: {{{given}: ...}}}}"
    return near_matches(given, known, most=1) or _all(known)


def _all(known: Sequence[str]) -> str:
    return f"; there are {', '.join(known)}"


def _shown(value: Any) -> str:
    return "empty" if value is None else "a list" if isinstance(value, list) else repr(value)
