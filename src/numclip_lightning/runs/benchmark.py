"""The configuration of a benchmark: datasets, methods, seeds, shots, folds, and the overlays that it includes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.runs.entries import DatasetEntry, EnsembleEntry, MeanEntry, MethodEntry
from numclip_lightning.runs.flatten import flatten
from numclip_lightning.runs.shipped import config_path

__all__ = ["ALL_IMAGES", "Benchmark"]

ALL_IMAGES = 0
# Arguments that the plan itself sets, and the argument of the benchmark for each.
_PLANNED = {
    "data.num_shots": "shots",
    "data.seed": "seeds",
    "seed_everything": "seeds",
    "data.fold": "folds",
    "trainer.default_root_dir": "root",
    "trainer.devices": "processes",
}


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The methods and datasets that are compared, and how often.

    Args:
        title: The heading of the report.
        datasets: The datasets by their names in tables.
        methods: The methods by their names in tables.
        overlays: A pattern of overlays, such as `configs/methods/*.yaml`. Each file that no entry of `methods` has as
            its config becomes a method too, after them and by the name in its first line, `# Overlay: NAME: ...`.
        ensembles: Answers of several methods as one, by their names in tables, shown like methods, after them.
        means: Means over datasets, shown as datasets of their own; left out if one of theirs is.
        only_datasets: The datasets of which this call runs and reports something; None takes all.
        only_methods: The methods of which it does; None takes all.
        seeds: Seeds of the method and of the data, a run for each.
        shots: Training images per value, a run for each; 0 takes all.
        folds: Folds of the datasets that don't name their own, a run for each; empty for datasets without folds.
        args: Arguments of every run. A dataset's arguments override them, a method's override both.
        metrics: The metrics in the tables, in this order.
        compare_to: The method that the others are tested against; None tests none.
        root: Folder of the runs. Benchmarks that share it share the runs that they have in common.
        output: Folder of the report; None takes `reports` and the name of the configuration below `root`.
        page: A Markdown page to put the report into, between the lines `<!-- report -->` and `<!-- end of report -->`,
            once every run has finished.
        archive: A `.tar.xz` file that goes with the benchmark from one machine to another. The runs that it has and
            `root` lacks are unpacked first; the runs that have finished are packed at the end: their records and test
            predictions, without checkpoints.
        processes: How many runs at once, each on one device. Several GPUs are used in turn.
        tuning_seed: The seed of the trials, none of `seeds`; None takes the number after the largest of them.
        keep_checkpoints: Whether the checkpoints of finished runs are kept; they take most of the space.
        on_mistakes: What follows from methods whose names or values can't be, as words and checks of arguments show:
            `refuse` names all of them before the first run, `run` lets them fail each by itself.

    Raises:
        ConfigError: If an entry is missing, doubled or unknown.
    """

    title: str
    datasets: dict[str, DatasetEntry]
    methods: dict[str, MethodEntry] = field(default_factory=dict)
    overlays: str | None = None
    ensembles: dict[str, EnsembleEntry] = field(default_factory=dict)
    means: dict[str, MeanEntry] = field(default_factory=dict)
    only_datasets: list[str] | None = None
    only_methods: list[str] | None = None
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    shots: list[int] = field(default_factory=lambda: [ALL_IMAGES])
    folds: list[int] = field(default_factory=list)
    args: dict[str, Any] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=lambda: ["test_mae", "test_acc"])
    compare_to: str | None = None
    root: str = "runs/benchmarks"
    output: str | None = None
    page: str | None = None
    archive: str | None = None
    processes: int = 1
    tuning_seed: int | None = None
    keep_checkpoints: bool = False
    on_mistakes: Literal["refuse", "run"] = "refuse"

    def __post_init__(self) -> None:
        """Include the overlays, and check what no type checks."""
        object.__setattr__(self, "methods", {**self.methods, **self._included()})
        for name in ("datasets", "methods", "seeds", "shots"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty; name at least one.")
        for name in ("seeds", "shots", "folds"):
            _check_numbers(name, getattr(self, name))
        if self.archive is not None and not self.archive.endswith(".tar.xz"):
            raise ConfigError(f"archive is {self.archive!r}; give a file that ends with .tar.xz.")
        if self.processes < 1:
            raise ConfigError(f"processes is {self.processes}; give 1 or more.")
        _check_args("args", self.args)
        for name, dataset in self.datasets.items():
            _check_numbers(f"folds of {name!r}", dataset.folds or [])
            _check_args(f"args of {name!r}", dataset.args)
            for other, test in dataset.tests.items():
                if test.config is None and not test.args:
                    raise ConfigError(f"tests of {name!r}: {other!r} has neither config nor args; name other images.")
                if other == name:
                    raise ConfigError(f"tests of {name!r}: {other!r} is the dataset itself; give another name.")
                _check_args(f"args of the test {other!r} of {name!r}", test.args)
        for name, method in self.methods.items():
            _check_args(f"args of {name!r}", method.args)
            self._check_trials(name, method)
            self._check_predictions(name, method)
        if self.tuning_seed is not None:
            self._check_tuning_seed(self.tuning_seed)
        for name, mean in self.means.items():
            self._check_mean(name, mean)
        for name, ensemble in self.ensembles.items():
            self._check_ensemble(name, ensemble)
        # Last: the whole file is checked, whatever part of it is asked for.
        self._keep_only()
        if not self.own_methods:
            raise ConfigError(
                "methods has predictions of others alone, and no run that knows the test images; add one, such as "
                "Zero-shot: {config: configs/methods/zero_shot.yaml}."
            )

    def _keep_only(self) -> None:
        """Leave out the datasets and methods that are not asked for, and the means and ensembles that need them."""
        for kind, joined in (("datasets", "means"), ("methods", "ensembles")):
            only = getattr(self, f"only_{kind}")
            if only is None:
                continue
            every = getattr(self, kind)
            for name in only:
                check_choice(f"only_{kind}", name, every)
            kept = {name: entry for name, entry in every.items() if name in only}
            if not kept:
                raise ConfigError(f"only_{kind} is empty; name at least one, or leave it out.")
            whole = {name: entry for name, entry in getattr(self, joined).items() if kept.keys() >= set(entry.of)}
            if kind == "methods" and self.compare_to in {**every, **self.ensembles}.keys() - {**kept, **whole}.keys():
                raise ConfigError(
                    f"compare_to is {self.compare_to!r}, which only_methods leaves out; name it there too, or give "
                    "--compare_to=null."
                )
            object.__setattr__(self, kind, kept)
            object.__setattr__(self, joined, whole)

    def _included(self) -> dict[str, MethodEntry]:
        """Return the overlays that no entry has, by name, sorted by file."""
        if self.overlays is None:
            return {}
        pattern = Path(self.overlays)
        files = sorted(map(str, Path(config_path(str(pattern.parent))).glob(pattern.name)))
        if not files:
            raise ConfigError(f"overlays is {self.overlays!r}, which no file matches; give a pattern of YAML files.")
        taken = {Path(config_path(entry.config)).resolve() for entry in self.methods.values() if entry.config}
        found: dict[str, MethodEntry] = {}
        for file in files:
            if Path(file).resolve() in taken:
                continue
            name = _overlay_name(file)
            if name in found or name in self.methods:
                raise ConfigError(f"the overlay {file!r} has the name of another method, {name!r}; rename one.")
            found[name] = MethodEntry(config=file)
        return found

    @property
    def own_methods(self) -> list[str]:
        """The methods that are run here; the others are predictions of other programs."""
        return [name for name, method in self.methods.items() if method.predictions is None]

    @property
    def seed_of_trials(self) -> int:
        """The seed of the trials."""
        return max(self.seeds) + 1 if self.tuning_seed is None else self.tuning_seed

    def _check_tuning_seed(self, seed: int) -> None:
        if seed < 0 or seed in self.seeds:
            raise ConfigError(
                f"tuning_seed is {seed}; give a number of 0 or more that is none of seeds, {self.seeds}: what is "
                "chosen on a run is no surprise in it."
            )

    def _check_ensemble(self, name: str, ensemble: EnsembleEntry) -> None:
        for method in ensemble.of:
            check_choice(f"ensembles: of {name!r}", method, self.methods)
        if name in self.methods:
            raise ConfigError(f"ensembles: {name!r} has the name of a method; give another.")
        runs = len(set(ensemble.of)) * (len(self.seeds) if ensemble.across_seeds else 1)
        if runs < 2 or len(set(ensemble.of)) < len(ensemble.of):
            raise ConfigError(
                f"ensembles: {name!r} joins {', '.join(ensemble.of) or 'nothing'}; name two methods or more, each "
                "once, or join one across_seeds."
            )

    def _check_trials(self, name: str, method: MethodEntry) -> None:
        if len(method.trials) == 1:
            raise ConfigError(
                f"trials of {name!r} has one entry; give two or more to choose from, or put it into args."
            )
        if method.trials and method.trains is False:
            raise ConfigError(f"{name!r} has trials, but learns nothing (trains: false); remove one of them.")
        for trial, args in method.trials.items():
            _check_args(f"trial {trial!r} of {name!r}", args)

    def _check_predictions(self, name: str, method: MethodEntry) -> None:
        if method.predictions is None:
            if method.columns or method.unanswered != "refuse":
                raise ConfigError(f"{name!r} has columns or unanswered, but no predictions; name their file.")
            return
        if method.config or method.args or method.trials or method.trains:
            raise ConfigError(
                f"{name!r} has predictions, so that nothing is run; remove its config, args, trains and trials."
            )
        files = method.predictions if isinstance(method.predictions, dict) else dict.fromkeys(self.datasets, "")
        for dataset in files:
            check_choice(f"predictions of {name!r}", dataset, self.datasets)

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
        """Return the folds of a dataset; None alone if it has none."""
        own = self.datasets[dataset].folds
        return (self.folds if own is None else own) or [None]


def _check_numbers(name: str, numbers: Sequence[int]) -> None:
    if len(set(numbers)) < len(numbers) or min(numbers, default=0) < 0:
        raise ConfigError(f"{name} is {list(numbers)}; give different numbers, none below 0.")


def _check_args(owner: str, args: Mapping[str, Any]) -> None:
    """Refuse arguments that the plan would override silently, in any spelling."""
    names = [name.replace(".init_args.", ".") for name in flatten(args)]
    if planned := [name for name in names if name in _PLANNED]:
        raise ConfigError(f"{owner}: {planned[0]} is set for each run; give {_PLANNED[planned[0]]} instead.")


def _overlay_name(file: str) -> str:
    """Return the name in tables: that in the first line, `# Overlay: NAME: ...`, or else the file's name."""
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"the overlay {file!r} can't be read: {error.strerror}.") from error
    match = re.match(r"# Overlay: ([^:]+):", lines[0] if lines else "")
    return match[1].strip() if match else Path(file).stem
