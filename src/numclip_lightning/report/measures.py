"""What the metrics of a benchmark are called, which way is better, and how they are printed."""

import re
from typing import NamedTuple

from numclip_lightning.errors import ConfigError, near_matches

__all__ = ["Measure", "measure_of"]


class Measure(NamedTuple):
    """How to read a metric.

    Attributes:
        label: Its name for people.
        lower_is_better: Whether 1 is better than 2.
        percent: Whether a share of 0 to 1 is printed as 0 to 100.
        digits: How many digits are printed behind the point.
    """

    label: str
    lower_is_better: bool = False
    percent: bool = False
    digits: int = 2

    @property
    def title(self) -> str:
        """The name and the unit, where there is one: `"Accuracy (%)"`."""
        return f"{self.label} (%)" if self.percent else self.label

    @property
    def factor(self) -> int:
        """What the recorded number is multiplied with where it is shown."""
        return 100 if self.percent else 1

    def text(self, value: float) -> str:
        """Return a number as tables print it; never `-0.00`."""
        return f"{value * self.factor:z.{self.digits}f}"


_NAMED = {
    "mae": Measure("Mean absolute error", lower_is_better=True),
    "epsilon": Measure("Epsilon-error", lower_is_better=True, digits=3),
    "acc": Measure("Accuracy", percent=True),
    "qwk": Measure("Quadratic kappa", digits=3),
    "spearman": Measure("Spearman's correlation", digits=3),
}


def measure_of(metric: str) -> Measure:
    """Return how to read a metric.

    Args:
        metric: Its key, the split in front: `test_mae`, `test_acc_within_1`, `test_cs5` (the cumulative score at 5),
            `test_cs0_5` (at 0.5).

    Raises:
        ConfigError: If it isn't known which way the metric is better.
    """
    split, _, name = metric.partition("_")
    within, score = re.fullmatch(r"acc_within_(\d+)", name), re.fullmatch(r"cs(\d+(?:_\d+)?)", name)
    if split in ("val", "test"):
        if name in _NAMED:
            return _NAMED[name]
        if within:
            return Measure(f"Accuracy within {within[1]} level{'' if within[1] == '1' else 's'}", percent=True)
        if score:
            return Measure(f"Cumulative score at {score[1].replace('_', '.')}", percent=True)
    known = [f"test_{name}" for name in (*_NAMED, "acc_within_1", "cs5")]
    raise ConfigError(
        f"metrics has {metric!r}, of which it isn't known whether lower or higher is better"
        f"{near_matches(metric, known) or '.'} Known are {', '.join(known)} with any number in the last two, "
        "and the same with val_."
    )
