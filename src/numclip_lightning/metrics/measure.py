"""How a metric is built and how its number is read: its name for people, its digits, which way is better."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torchmetrics import Metric

from numclip_lightning.scale import OrdinalScale

__all__ = ["Better", "Measure", "Needs"]

Needs = Literal["value", "level", "value_by_level", "probabilities", "distribution", "spread"]
"""What `update` takes: predicted and true values; predicted and true levels; predicted and true values and true levels;
probabilities and true levels; probabilities and true values; predicted and true values and the spread of guesses."""

Better = Literal["lower", "higher", "zero"]
"""Which way is better; "zero" is the nearer to 0."""

_BETTER: dict[bool | None, Better] = {True: "higher", False: "lower", None: "zero"}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One metric.

    Attributes:
        label: The name for people; `{}` is the number in the key, `{s}` the plural that it asks for.
        needs: What its `update` takes.
        kind: Its class, which also says which way is better (`higher_is_better`; None is the nearer to 0).
        arguments: The arguments of the class for a scale and the number in the key (0 if it has none).
        digits: How many digits are printed behind the point.
        percent: Whether a share of 0 to 1 is printed as 0 to 100.
    """

    label: str
    needs: Needs
    kind: type[Metric]
    arguments: Callable[[OrdinalScale, float], dict[str, Any]] = lambda *_: {}
    digits: int = 2
    percent: bool = False

    @property
    def better(self) -> Better:
        """Which way is better, from the class of the metric."""
        return _BETTER[self.kind.higher_is_better]

    @property
    def lower_is_better(self) -> bool:
        """Whether 1 is better than 2."""
        return self.better != "higher"

    @property
    def direction(self) -> str:
        """Which way is better, in words: `"lower"`, `"higher"` or `"nearer to 0"`."""
        return "nearer to 0" if self.better == "zero" else self.better

    @property
    def title(self) -> str:
        """The name with the unit, if there is one: `"Accuracy (%)"`."""
        return f"{self.label} (%)" if self.percent else self.label

    @property
    def factor(self) -> int:
        """The factor from the recorded number to the printed one."""
        return 100 if self.percent else 1

    def make(self, scale: OrdinalScale, number: float) -> Metric:
        """Build the metric for a scale and the number in its key (0 if it has none)."""
        return self.kind(**self.arguments(scale, number))

    def size(self, value: float) -> float:
        """Return the number that methods are ranked and compared by: the distance from 0 where that is best."""
        return abs(value) if self.better == "zero" else value

    def text(self, value: float) -> str:
        """Return a number as tables print it; never `-0.00`."""
        return f"{value * self.factor:z.{self.digits}f}"
