"""The runs of a benchmark: datasets x methods x folds x shots x seeds, each with its words and its folder."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.benchmark import ALL_IMAGES, Benchmark, CrossEntry
from numclip_lightning.runs.code import own_sources
from numclip_lightning.runs.flatten import flatten
from numclip_lightning.runs.learns import learns

__all__ = ["PlannedRun", "PlannedTest", "plan"]


GIVEN = "given.yaml"


@dataclass(frozen=True)
class PlannedRun:
    """One run of `numclip`.

    Attributes:
        dataset: Its name in the benchmark.
        method: Its name in the benchmark.
        fold: The fold; 0 if the dataset has none.
        shots: Training images per value; 0 for all.
        seed: The seed.
        trains: Whether it fits before it tests.
        words: The words after `numclip`, except the run's place.
        folder: Its run folder. The name ends with a digest of the words and the files they name, so that a run is found
            again until something about it changes, including a method's own file outside the package.
        tests: The tests of its best checkpoint on other images, each in a folder below its own.
    """

    dataset: str
    method: str
    fold: int
    shots: int
    seed: int
    trains: bool
    words: tuple[str, ...]
    folder: Path
    tests: tuple["PlannedTest", ...] = ()

    @property
    def entry(self) -> dict[str, Any]:
        """The facts that a report has before the run."""
        return {name: getattr(self, name) for name in ("dataset", "method", "fold", "shots", "seed", "trains")}


@dataclass(frozen=True)
class PlannedTest(PlannedRun):
    """One test of a finished run on other images.

    Attributes:
        tested_on: The name of these images in the benchmark.
        source: The folder of the run whose best checkpoint is tested.
        data_config: The run configuration whose `data` section has the images; None takes that of the run.
    """

    tested_on: str = ""
    source: Path = Path()
    data_config: str | None = None

    @property
    def entry(self) -> dict[str, Any]:
        """The facts that a report has before the test."""
        return {**super().entry, "tested_on": self.tested_on}

    @property
    def given(self) -> Path:
        """The configuration of the test, which is written when the run has finished."""
        return self.folder / GIVEN


def plan(benchmark: Benchmark) -> list[PlannedRun]:
    """List all runs, seed by seed, so that a benchmark that is stopped has whole tables of fewer seeds.

    Args:
        benchmark: The configuration. Datasets whose folder is absent are left out.

    Raises:
        ConfigError: If a configuration file is missing, or two runs would share a folder.
    """
    places = [
        (name, fold) for name, entry in benchmark.datasets.items() if entry.is_here for fold in benchmark.folds_of(name)
    ]
    trains = {name: _trains(benchmark, name, places[0][0]) for name in benchmark.methods} if places else {}
    runs: dict[Path, PlannedRun] = {}
    for seed, (dataset, fold), shots, method in product(benchmark.seeds, places, benchmark.shots, benchmark.methods):
        if not trains[method]:
            shots = ALL_IMAGES
        run = _run(benchmark, dataset, method, fold, shots, seed, trains=trains[method])
        twin = runs.setdefault(run.folder, run)
        if (twin.dataset, twin.method) != (dataset, method):
            raise ConfigError(
                f"{twin.dataset!r} with {twin.method!r} and {dataset!r} with {method!r} differ in no letter or digit; "
                "rename one of them."
            )
    return list(runs.values())


def _trains(benchmark: Benchmark, method: str, dataset: str) -> bool:
    """Return whether a method has anything to learn, as its entry says or as it is built on a dataset."""
    given = benchmark.methods[method].trains
    return learns(*_given(benchmark, dataset, method)) if given is None else given


def _given(benchmark: Benchmark, dataset: str, method: str) -> tuple[list[str], dict[str, Any]]:
    """Return the configuration files and the arguments of a method on a dataset."""
    data, learner = benchmark.datasets[dataset], benchmark.methods[method]
    files = [data.config, *([learner.config] if learner.config else [])]
    return files, {**_flat(benchmark.args), **_flat(data.args), **_flat(learner.args)}


def _run(
    benchmark: Benchmark, dataset: str, method: str, fold: int | None, shots: int, seed: int, *, trains: bool
) -> PlannedRun:
    files, args = _given(benchmark, dataset, method)
    args |= {"data.num_shots": shots, "data.seed": seed}
    args["seed_everything"] = seed
    if fold is not None:
        args["data.fold"] = fold
    subcommand = ["fit", "--test_after_fit=true"] if trains else ["test"]
    if not trains:
        args = {name: value for name, value in args.items() if name != "data.num_shots"}
    words = [*subcommand, *(f"--config={file}" for file in files), *_flags(args)]
    name = f"fold{fold or 0}-shots{shots}-seed{seed}-{_digest(words, files, args)}"
    folder = Path(benchmark.root, _slug(dataset), _slug(method), name)
    run = PlannedRun(dataset, method, fold or 0, shots, seed, trains, tuple(words), folder)
    return replace(
        run,
        tests=tuple(_test(run, name, test) for name, test in benchmark.datasets[dataset].tests.items() if test.is_here),
    )


def _test(run: PlannedRun, name: str, test: CrossEntry) -> PlannedTest:
    args = _flat(test.args)
    # A method that learns nothing may have been given a checkpoint.
    checkpoint = [word for word in run.words if word.startswith("--ckpt_path=")]
    words = [*checkpoint, *_flags(args)]
    digest = _digest(words, [test.config] if test.config else [], args)
    folder = run.folder / "tests" / f"{_slug(name)}-{digest}"
    words = ["test", f"--config={folder / GIVEN}", *words]
    facts = {part.name: getattr(run, part.name) for part in fields(run) if part.name not in ("words", "folder")}
    return PlannedTest(
        **facts, words=tuple(words), folder=folder, tested_on=name, source=run.folder, data_config=test.config
    )


def _flat(args: Mapping[str, Any]) -> dict[str, Any]:
    """Name nested arguments as the command line does: `--args.trainer.max_epochs=1` arrives as a tree.

    The value of a name with a dot is kept as it is, such as `{model.optimizer: {name: SGD}}`.
    """
    flat: dict[str, Any] = {}
    for name, value in args.items():
        flat |= {name: value} if "." in name else flatten({name: value})
    return flat


def _flags(args: dict[str, Any]) -> list[str]:
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in args.items()]


def _digest(words: Sequence[str], files: Sequence[str], args: Mapping[str, Any]) -> str:
    """Return a name for a run's content: its words, the configuration files without comments, and the user's code."""
    contents = []
    for file in files:
        try:
            contents.append(yaml.safe_load(Path(file).read_text(encoding="utf-8")))
        except OSError as error:
            raise ConfigError(f"the configuration {file!r} can't be read: {error.strerror}.") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"the configuration {file!r} is no YAML: {error}") from error
    sources = [file.read_text(encoding="utf-8") for file in own_sources([*contents, args])]
    # Without such code the name is as it was before such code counted, so that kept runs are found again.
    whole = [words, contents, *([sources] if sources else [])]
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _slug(name: str) -> str:
    """Return a name for a folder: lower-case letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
