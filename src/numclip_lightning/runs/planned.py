"""One run of a benchmark, one test of it on other images, one trial: its words, its folder, its facts for a report."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Place", "PlannedRun", "PlannedTest", "PlannedTrial"]

GIVEN = "given.yaml"
# Where a method is tuned: dataset, method, fold, shots.
Place = tuple[str, str, int, int]


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
        waits: Whether it can't be run yet, as no trial of its method has finished.
        predicts: Whether it tests, and so leaves predictions.
        callbacks: Lightning's callbacks that watch it, besides its own; nothing of them is in its configuration.
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
    waits: bool = False
    predicts: bool = field(default=True, kw_only=True)
    callbacks: tuple[Any, ...] = field(default=(), kw_only=True, compare=False)

    @property
    def place(self) -> Place:
        """Where its method is tuned."""
        return self.dataset, self.method, self.fold, self.shots

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


@dataclass(frozen=True)
class PlannedTrial(PlannedRun):
    """One fit of a method with arguments to choose from; it ends before any test.

    Attributes:
        trial: The name of the arguments.
    """

    trial: str = ""
    predicts: bool = field(default=False, kw_only=True)

    @property
    def entry(self) -> dict[str, Any]:
        """The facts that a report has before the trial."""
        return {**super().entry, "trial": self.trial}
