"""From a benchmark's configuration to its runs: datasets x methods x folds x shots x seeds."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.runs.code import own_sources

__all__ = ["ALL_IMAGES", "Benchmark", "DatasetEntry", "MeanEntry", "MethodEntry", "PlannedRun", "plan"]

ALL_IMAGES = 0
# What the plan itself sets, and what in the benchmark says so.
_PLANNED = {
    "data.num_shots": "shots",
    "data.seed": "seeds",
    "seed_everything": "seeds",
    "data.fold": "folds",
    "trainer.default_root_dir": "root",
    "trainer.devices": "processes",
}


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """A dataset to compare on.

    Args:
        config: A complete run configuration, such as `configs/counting.yaml`.
        args: Further arguments by their names on the command line, such as `{data.num_train: 2000}`, or as a tree.
        folds: Its folds, a run for each; None takes those of the benchmark, an empty list none.
        needs: A folder or file without which the dataset is left out, and said to be.
        published: The name under which published figures are looked up, such as `morph`; None compares with none.
    """

    config: str
    args: dict[str, Any] = field(default_factory=dict)
    folds: list[int] | None = None
    needs: str | None = None
    published: str | None = None

    @property
    def is_here(self) -> bool:
        """Whether what it needs is here."""
        return self.needs is None or Path(self.needs).exists()


@dataclass(frozen=True, kw_only=True)
class MeanEntry:
    """The mean over several datasets, as papers print one number for the parts of a benchmark; it has no runs.

    Args:
        of: Two datasets or more, with the same folds.
        published: The name under which published figures are looked up, such as `aesthetics`.
    """

    of: list[str]
    published: str | None = None


@dataclass(frozen=True, kw_only=True)
class MethodEntry:
    """A method to compare.

    Args:
        config: An overlay such as `configs/methods/coop.yaml`; None takes the method of the dataset's configuration.
        args: Further arguments by their names on the command line, such as `{model.weighting: none}`.
        trains: Whether there is anything to fit. What learns nothing is tested once, for any number of shots.
    """

    config: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    trains: bool = True


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What is compared, on what, how often.

    Args:
        title: The heading of the report.
        datasets: The datasets by the names they have in tables.
        methods: The methods by the names they have in tables.
        means: Means over datasets, shown as datasets of their own; left out where one of theirs is.
        seeds: Seeds of the method and of the data, a run for each.
        shots: Training images per value, a run for each; 0 takes all.
        folds: Folds of the datasets that don't name their own, a run for each; empty for datasets without folds.
        args: Arguments of every run. A dataset's arguments override them, a method's override both.
        metrics: What the tables show, in this order.
        compare_to: The method that the others are tested against; None tests none.
        root: Folder of the runs. Benchmarks that share it share the runs that they have in common.
        output: Folder of the report; None takes `reports` and the name of the configuration below `root`.
        page: A Markdown page to put the report into, between the lines `<!-- report -->` and `<!-- end of report -->`,
            once every run has finished.
        processes: How many runs at once, each on one device. Several GPUs are dealt out in turn.
        keep_checkpoints: Whether the checkpoints of finished runs are kept; they take most of the room.

    Raises:
        ConfigError: If an entry is missing, doubled or unknown.
    """

    title: str
    datasets: dict[str, DatasetEntry]
    methods: dict[str, MethodEntry]
    means: dict[str, MeanEntry] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    shots: list[int] = field(default_factory=lambda: [ALL_IMAGES])
    folds: list[int] = field(default_factory=list)
    args: dict[str, Any] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=lambda: ["test_mae", "test_acc"])
    compare_to: str | None = None
    root: str = "runs/benchmarks"
    output: str | None = None
    page: str | None = None
    processes: int = 1
    keep_checkpoints: bool = False

    def __post_init__(self) -> None:
        """Check what no type says."""
        for name in ("datasets", "methods", "seeds", "shots"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty; name at least one.")
        for name in ("seeds", "shots", "folds"):
            _check_numbers(name, getattr(self, name))
        if self.processes < 1:
            raise ConfigError(f"processes is {self.processes}; give 1 or more.")
        _check_args("args", self.args)
        for name, dataset in self.datasets.items():
            _check_numbers(f"folds of {name!r}", dataset.folds or [])
            _check_args(f"args of {name!r}", dataset.args)
        for name, method in self.methods.items():
            _check_args(f"args of {name!r}", method.args)
        for name, mean in self.means.items():
            self._check_mean(name, mean)

    def _check_mean(self, name: str, mean: MeanEntry) -> None:
        if name in self.datasets:
            raise ConfigError(f"means has {name!r}, the name of a dataset; rename one.")
        if len(set(mean.of)) < max(2, len(mean.of)):
            raise ConfigError(f"the mean {name!r} is of {mean.of}; name two different datasets or more.")
        for dataset in mean.of:
            check_choice(f"of in the mean {name!r}", dataset, self.datasets)
        if len({tuple(self.folds_of(dataset)) for dataset in mean.of}) > 1:
            raise ConfigError(f"the datasets of the mean {name!r} have different folds; give them the same.")

    def folds_of(self, dataset: str) -> Sequence[int | None]:
        """Return the folds that are run of a dataset; None alone where it has none."""
        own = self.datasets[dataset].folds
        return (self.folds if own is None else own) or [None]


@dataclass(frozen=True)
class PlannedRun:
    """One run of `numclip`.

    Attributes:
        dataset: Its name in the benchmark.
        method: Its name in the benchmark.
        fold: The fold; 0 where the dataset has none.
        shots: Training images per value; 0 for all.
        seed: The seed.
        trains: Whether it fits before it tests.
        words: What follows `numclip` but for where the run goes.
        folder: Where it goes. Its name ends with a digest of the words and the files they name, so that a run is
            found again as long as nothing about it has changed, a method's own file outside the package included.
    """

    dataset: str
    method: str
    fold: int
    shots: int
    seed: int
    trains: bool
    words: tuple[str, ...]
    folder: Path

    @property
    def entry(self) -> dict[str, Any]:
        """What the report knows of it before it has run."""
        return {name: getattr(self, name) for name in ("dataset", "method", "fold", "shots", "seed", "trains")}


def plan(benchmark: Benchmark) -> list[PlannedRun]:
    """List all runs, seed by seed, so that a benchmark that is stopped has whole tables of fewer seeds.

    Args:
        benchmark: What is compared. Datasets whose folder is absent are left out.

    Raises:
        ConfigError: If a configuration file is missing, or two runs would share a folder.
    """
    places = [
        (name, fold) for name, entry in benchmark.datasets.items() if entry.is_here for fold in benchmark.folds_of(name)
    ]
    runs: dict[Path, PlannedRun] = {}
    for seed, (dataset, fold), shots, method in product(benchmark.seeds, places, benchmark.shots, benchmark.methods):
        if not benchmark.methods[method].trains:
            shots = ALL_IMAGES
        run = _run(benchmark, dataset, method, fold, shots, seed)
        twin = runs.setdefault(run.folder, run)
        if (twin.dataset, twin.method) != (dataset, method):
            raise ConfigError(
                f"{twin.dataset!r} with {twin.method!r} and {dataset!r} with {method!r} differ in no letter or digit; "
                "rename one of them."
            )
    return list(runs.values())


def _check_numbers(name: str, numbers: Sequence[int]) -> None:
    if len(set(numbers)) < len(numbers) or min(numbers, default=0) < 0:
        raise ConfigError(f"{name} is {list(numbers)}; give different numbers, none below 0.")


def _check_args(owner: str, args: Mapping[str, Any]) -> None:
    """Refuse what would be overridden in silence, however it is written."""
    names = [leaf.replace(".init_args.", ".") for name, value in args.items() for leaf, _ in _leaves(name, value)]
    if planned := [name for name in names if name in _PLANNED]:
        raise ConfigError(f"{owner}: {planned[0]} is set for each run; give {_PLANNED[planned[0]]} in its place.")


def _run(benchmark: Benchmark, dataset: str, method: str, fold: int | None, shots: int, seed: int) -> PlannedRun:
    data, learner = benchmark.datasets[dataset], benchmark.methods[method]
    files = [data.config, *([learner.config] if learner.config else [])]
    args = {**_flat(benchmark.args), **_flat(data.args), **_flat(learner.args)}
    args |= {"data.num_shots": shots, "data.seed": seed}
    args["seed_everything"] = seed
    if fold is not None:
        args["data.fold"] = fold
    subcommand = ["fit", "--test_after_fit=true"] if learner.trains else ["test"]
    if not learner.trains:
        args = {name: value for name, value in args.items() if name != "data.num_shots"}
    words = [*subcommand, *(f"--config={file}" for file in files), *_flags(args)]
    name = f"fold{fold or 0}-shots{shots}-seed{seed}-{_digest(words, files, args)}"
    folder = Path(benchmark.root, _slug(dataset), _slug(method), name)
    return PlannedRun(dataset, method, fold or 0, shots, seed, learner.trains, tuple(words), folder)


def _flat(args: Mapping[str, Any]) -> dict[str, Any]:
    """Name nested arguments as the command line does: `--args.trainer.max_epochs=1` arrives as a tree.

    What stands under a name with a dot is one value as it is, such as `{model.optimizer: {name: SGD}}`.
    """
    named = [[(name, value)] if "." in name else _leaves(name, value) for name, value in args.items()]
    return {name: value for pairs in named for name, value in pairs}


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}", inner)
    else:
        yield name, value


def _flags(args: dict[str, Any]) -> list[str]:
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in args.items()]


def _digest(words: Sequence[str], files: Sequence[str], args: Mapping[str, Any]) -> str:
    """Return a name for what a run does: its words, what the configuration files say, comments aside, and own code."""
    contents = []
    for file in files:
        try:
            contents.append(yaml.safe_load(Path(file).read_text(encoding="utf-8")))
        except OSError as error:
            raise ConfigError(f"the configuration {file!r} can't be read: {error.strerror}.") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"the configuration {file!r} is no YAML: {error}") from error
    sources = [file.read_text(encoding="utf-8") for file in own_sources([*contents, args])]
    # Without own code the name is what it was before own code counted: kept runs are found again.
    whole = [words, contents, *([sources] if sources else [])]
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _slug(name: str) -> str:
    """Return a name for a folder: lower-case letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
