"""The runs of a benchmark: datasets x methods x folds x shots x seeds, each with its words and its folder."""

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from numclip_lightning.errors import ConfigError
from numclip_lightning.progress import watched
from numclip_lightning.runs.benchmark import ALL_IMAGES, Benchmark
from numclip_lightning.runs.digests import found_folder, overlap
from numclip_lightning.runs.entries import CrossEntry
from numclip_lightning.runs.flatten import flags_of, flatten
from numclip_lightning.runs.learns import learns
from numclip_lightning.runs.planned import GIVEN, Place, PlannedRun, PlannedTest, PlannedTrial
from numclip_lightning.runs.shipped import config_path

__all__ = ["plan", "plan_trials"]


_TEST = "--test_after_fit=true"


def plan_trials(benchmark: Benchmark) -> list[PlannedTrial]:
    """List the trials, if methods have any, in the order of the runs.

    Args:
        benchmark: The configuration. Datasets whose folder is absent are left out.

    Raises:
        ConfigError: If a configuration file is missing.
    """
    trials = []
    for (dataset, fold), shots, method in product(_places(benchmark), benchmark.shots, benchmark.own_methods):
        for name in benchmark.methods[method].trials:
            seed = benchmark.seed_of_trials
            run = _run(benchmark, dataset, method, fold, shots, seed, trains=True, trial=name)
            facts = {
                part.name: getattr(run, part.name) for part in fields(run) if part.name not in ("words", "predicts")
            }
            words = tuple(word for word in run.words if word != _TEST)
            trials.append(PlannedTrial(**facts, words=words, trial=name))
    return trials


def plan(benchmark: Benchmark, chosen: Mapping[Place, str] | None = None) -> list[PlannedRun]:
    """List all runs, seed by seed, so that a benchmark that is stopped has whole tables of fewer seeds.

    Args:
        benchmark: The configuration. Datasets whose folder is absent are left out.
        chosen: The trial that was best for each place, see `choose`. Runs of a method with trials wait without it.

    Raises:
        ConfigError: If a configuration file is missing, or two runs would share a folder.
    """
    places = _places(benchmark)
    methods = benchmark.own_methods if places else []
    looked = watched(methods, len(methods), "looking at methods", "method")
    trains = {name: _trains(benchmark, name, places[0][0]) for name in looked}
    runs: dict[Path, PlannedRun] = {}
    for seed, (dataset, fold), shots, method in product(benchmark.seeds, places, benchmark.shots, trains):
        if not trains[method]:
            shots = ALL_IMAGES
        trial = (chosen or {}).get((dataset, method, fold or 0, shots))
        run = _run(benchmark, dataset, method, fold, shots, seed, trains=trains[method], trial=trial)
        twin = runs.setdefault(run.folder, run)
        if (twin.dataset, twin.method) != (dataset, method):
            raise ConfigError(
                f"{twin.dataset!r} with {twin.method!r} and {dataset!r} with {method!r} differ in no letter or digit; "
                "rename one of them."
            )
    return list(runs.values())


def _places(benchmark: Benchmark) -> list[tuple[str, int | None]]:
    """Return each dataset that is here with each of its folds."""
    here = [name for name, entry in benchmark.datasets.items() if entry.is_here]
    return [(name, fold) for name in here for fold in benchmark.folds_of(name)]


def _trains(benchmark: Benchmark, method: str, dataset: str) -> bool:
    """Return whether a method has anything to learn, as its entry says or as it is built on a dataset."""
    given = benchmark.methods[method].trains
    return learns(*_given(benchmark, dataset, method)) if given is None else given


def _given(
    benchmark: Benchmark, dataset: str, method: str, trial: str | None = None
) -> tuple[list[str], dict[str, Any]]:
    """Return the configuration files and the arguments of a method on a dataset."""
    data, learner = benchmark.datasets[dataset], benchmark.methods[method]
    files = [config_path(file) for file in (data.config, learner.config) if file]
    tried = {} if trial is None else learner.trials[trial]
    return files, _merged(benchmark.args, data.args, learner.args, tried)


def _run(
    benchmark: Benchmark,
    dataset: str,
    method: str,
    fold: int | None,
    shots: int,
    seed: int,
    *,
    trains: bool,
    trial: str | None = None,
) -> PlannedRun:
    files, args = _given(benchmark, dataset, method, trial)
    args |= {"data.num_shots": shots, "data.seed": seed}
    args["seed_everything"] = seed
    if fold is not None:
        args["data.fold"] = fold
    subcommand = ["fit", _TEST] if trains else ["test"]
    if not trains:
        args = {name: value for name, value in args.items() if name != "data.num_shots"}
    words = [*subcommand, *(f"--config={file}" for file in files), *flags_of(args)]
    parent, start = Path(benchmark.root, _slug(dataset), _slug(method)), f"fold{fold or 0}-shots{shots}-seed{seed}"
    folder = found_folder(parent, start, words, subcommand, files, args)
    waits = bool(benchmark.methods[method].trials) and trial is None
    run = PlannedRun(dataset, method, fold or 0, shots, seed, trains, tuple(words), folder, waits=waits)
    return replace(
        run,
        tests=tuple(_test(run, name, test) for name, test in benchmark.datasets[dataset].tests.items() if test.is_here),
    )


def _test(run: PlannedRun, name: str, test: CrossEntry) -> PlannedTest:
    args, data_config = _flat(test.args), config_path(test.config) if test.config else None
    # A method that learns nothing may have been given a checkpoint.
    checkpoint = [word for word in run.words if word.startswith("--ckpt_path=")]
    words = [*checkpoint, *flags_of(args)]
    files = [data_config] if data_config else []
    folder = found_folder(run.folder / "tests", _slug(name), words, checkpoint, files, args)
    words = ["test", f"--config={folder / GIVEN}", *words]
    facts = {part.name: getattr(run, part.name) for part in fields(run) if part.name not in ("words", "folder")}
    return PlannedTest(
        **facts, words=tuple(words), folder=folder, tested_on=name, source=run.folder, data_config=data_config
    )


def _merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Join arguments, later ones over earlier ones, also where one holds the other: `model.optimizer`, and its name."""
    merged: dict[str, Any] = {}
    for name, value in (pair for part in parts for pair in _flat(part).items()):
        if any(overlap(name, other) for other in merged if other != name):
            # To the end: what stands between may hold it.
            merged.pop(name, None)
        merged[name] = value
    return merged


def _flat(args: Mapping[str, Any]) -> dict[str, Any]:
    """Name nested arguments as the command line does: `--args.trainer.max_epochs=1` arrives as a tree.

    The value of a name with a dot is kept as it is, such as `{model.optimizer: {name: SGD}}`.
    """
    flat: dict[str, Any] = {}
    for name, value in args.items():
        flat |= {name: value} if "." in name else flatten({name: value})
    return flat


def _slug(name: str) -> str:
    """Return a name for a folder: lower-case letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
