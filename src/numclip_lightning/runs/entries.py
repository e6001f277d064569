"""The entries of a benchmark's configuration: datasets, other images to test on, means over datasets, methods."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["CrossEntry", "DatasetEntry", "EnsembleEntry", "MeanEntry", "MethodEntry"]


@dataclass(frozen=True, kw_only=True)
class CrossEntry:
    """Other images that what was trained on a dataset is also tested on.

    Args:
        config: A run configuration whose `data` section has them; None takes that of the dataset.
        args: Further arguments by their names on the command line, such as `{data.test_file: other.csv}`.
        needs: A folder or file; without it these images are left out, with a warning.
    """

    config: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    needs: str | None = None

    @property
    def is_here(self) -> bool:
        """Whether the needed folder or file exists."""
        return self.needs is None or Path(self.needs).exists()


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """A dataset of a benchmark.

    Args:
        config: A complete run configuration, such as `configs/counting.yaml`.
        args: Further arguments by their names on the command line, such as `{data.num_train: 2000}`, or as a tree.
        folds: Its folds, a run for each; None takes those of the benchmark, an empty list none.
        needs: A folder or file; without it the dataset is left out, with a warning.
        published: The name under which published figures are looked up, such as `morph`; None compares with none.
        tests: Other images by their names in tables: the best checkpoint of each finished run is tested on them too.
    """

    config: str
    args: dict[str, Any] = field(default_factory=dict)
    folds: list[int] | None = None
    needs: str | None = None
    published: str | None = None
    tests: dict[str, CrossEntry] = field(default_factory=dict)

    @property
    def is_here(self) -> bool:
        """Whether the needed folder or file exists."""
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
class EnsembleEntry:
    """One answer of several methods, joined from the predictions of their runs; it has no runs of its own.

    Args:
        of: The methods. Their runs of one seed are joined, for each dataset, fold, number of shots and seed.
        across_seeds: Whether the runs of all seeds are joined into one answer instead; their test images have to be
            the same.
    """

    of: list[str]
    across_seeds: bool = False


@dataclass(frozen=True, kw_only=True)
class MethodEntry:
    """A method of a benchmark.

    Args:
        config: An overlay such as `configs/methods/coop.yaml`; None takes the method of the dataset's configuration.
        args: Further arguments by their names on the command line, such as `{model.weighting: none}`.
        trains: Whether there is anything to fit. A method that learns nothing is tested once, for any number of shots.
            None builds the method, on the first dataset, to see it.
        trials: Arguments to choose from, by a name for each, such as `{"0.1": {model.learning_rates.head: 0.1}, ...}`.
            All are fitted once, for each dataset, fold and number of shots, and the one with the lowest `val_mae` is
            taken for the runs. No test image is looked at.
        predictions: A CSV file of another program's predictions, such as a vision-language model's, in place of runs;
            or one for each dataset, by its name. It has the columns `path` and `value` (or `phrase`, or all p(PHRASE)).
        columns: The file's names of its columns, by ours, such as `{value: answer, path: image}`.
        unanswered: What counts where its value is no number: `refuse` the row, or the training `median`, as guessing.
    """

    config: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    trains: bool | None = None
    trials: dict[str, dict[str, Any]] = field(default_factory=dict)
    predictions: str | dict[str, str] | None = None
    columns: dict[str, str] = field(default_factory=dict)
    unanswered: Literal["refuse", "median"] = "refuse"
