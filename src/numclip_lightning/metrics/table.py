"""The table of all metrics: how each is built, its name for people, how it is printed, which way is better."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from torchmetrics import MeanAbsoluteError, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from numclip_lightning.errors import ConfigError, near_matches
from numclip_lightning.metrics.levels import AccuracyWithin, QuadraticKappa
from numclip_lightning.metrics.values import CumulativeScore, EpsilonError, Spearman

__all__ = ["METRICS", "Measure", "level_metrics", "measure_of", "value_metrics"]


@dataclass(frozen=True)
class Measure:
    """One metric: its class and how to read its number.

    Attributes:
        label: The name for people; `{}` is the number in the key, `{s}` the plural that it asks for.
        metric: The class, which knows whether higher is better.
        of: What it compares: predicted values, predicted levels, or values with the spread of human guesses.
        build: Makes the metric from the tolerance (of a value, in the target's unit) or the number of levels.
        percent: Whether a share of 0 to 1 is printed as 0 to 100.
        digits: How many digits are printed behind the point.
    """

    label: str
    metric: type[Metric]
    of: Literal["value", "level", "spread"]
    build: Callable[[Any], Metric]
    percent: bool = False
    digits: int = 2

    @property
    def lower_is_better(self) -> bool:
        """Whether 1 is better than 2."""
        return not self.metric.higher_is_better

    @property
    def title(self) -> str:
        """The name with the unit, if there is one: `"Accuracy (%)"`."""
        return f"{self.label} (%)" if self.percent else self.label

    @property
    def factor(self) -> int:
        """The factor from the recorded number to the printed one."""
        return 100 if self.percent else 1

    def text(self, value: float) -> str:
        """Return a number as tables print it; never `-0.00`."""
        return f"{value * self.factor:z.{self.digits}f}"


def _accuracy(num_levels: int) -> Metric:
    # torchmetrics knows no single class; over all samples the number makes no difference. Its own check of the
    # arguments would wait for the device at each update.
    return MulticlassAccuracy(max(num_levels, 2), average="micro", validate_args=False)


# A new metric is its file and one row here. `{}` in a key is a number: the tolerance, or the distance in levels.
METRICS: dict[str, Measure] = {
    "mae": Measure("Mean absolute error", MeanAbsoluteError, "value", lambda _: MeanAbsoluteError()),
    "epsilon": Measure("Epsilon-error", EpsilonError, "spread", lambda _: EpsilonError(), digits=3),
    "acc": Measure("Accuracy", MulticlassAccuracy, "level", _accuracy, percent=True),
    "qwk": Measure("Quadratic kappa", QuadraticKappa, "level", QuadraticKappa, digits=3),
    "spearman": Measure("Spearman's correlation", Spearman, "value", lambda _: Spearman(), digits=3),
    "acc_within_{}": Measure(
        "Accuracy within {} level{s}", AccuracyWithin, "level", lambda _: AccuracyWithin(1), percent=True
    ),
    "cs{}": Measure("Cumulative score at {}", CumulativeScore, "value", CumulativeScore, percent=True),
}


def value_metrics(tolerance: float) -> MetricCollection:
    """Build the metrics of a value: `mae`, `spearman`, and the cumulative score at a tolerance.

    Args:
        tolerance: The largest error that the cumulative score accepts, in the target's unit. It names the key: `cs5`
            for 5, and `cs0_5` for 0.5, since the names of modules can't contain a dot.

    Returns:
        Takes values and targets of shape (B,). Without any sample `mae` is NaN: an error of 0 would be the best of all.

    Raises:
        ConfigError: If `tolerance` is negative or not finite.
    """
    return _collection("value", tolerance, number=f"{tolerance:g}".replace(".", "_"))


def level_metrics(num_levels: int) -> MetricCollection:
    """Build the metrics of a level: `acc`, `acc_within_1` and `qwk`.

    Args:
        num_levels: K, at least 1.

    Returns:
        Takes predicted and true levels, int64 of shape (B,), B at least 1: torchmetrics' accuracy can't take less.

    Raises:
        ConfigError: If `num_levels` is less than 1.
    """
    return _collection("level", num_levels, number="1")


def _collection(of: str, argument: float, number: str) -> MetricCollection:
    metrics = {key.format(number): row.build(argument) for key, row in METRICS.items() if row.of == of}
    # Without groups: torchmetrics merges metrics whose states are equal after the first batch, which those of two
    # metrics may be by chance.
    return MetricCollection(dict(metrics), compute_groups=False)


def measure_of(metric: str) -> Measure:
    """Look up how to read a metric.

    Args:
        metric: Its key, the split in front: `test_mae`, `test_acc_within_1`, `test_cs5` (the cumulative score at 5),
            `test_cs0_5` (at 0.5).

    Raises:
        ConfigError: If no such metric is in the table.

    Example:
        >>> measure_of("test_cs5").title
        'Cumulative score at 5 (%)'
    """
    split, _, name = metric.partition("_")
    for key, measure in METRICS.items():
        match = re.fullmatch(key.replace("{}", r"(\d+(?:_\d+)?)"), name)
        if match and split in ("val", "test"):
            number = "".join(match.groups()).replace("_", ".")
            return replace(measure, label=measure.label.format(number, s="" if number == "1" else "s"))
    known = [f"test_{key}".format({"cs{}": 5}.get(key, 1)) for key in METRICS]
    raise ConfigError(
        f"metrics has {metric!r}, which is not known{near_matches(metric, known) or '.'} Known are {', '.join(known)} "
        "with any number in the last two, and the same with val_."
    )
