"""What is asked of a calibration, and the answers of a method that it is found on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from numpy.typing import NDArray

from numclip_lightning.calibration.checks import Numbers, check_coverage, check_rows, numbers_of, probabilities_of
from numclip_lightning.calibration.conformal import Intervals
from numclip_lightning.calibration.level_sets import Sets
from numclip_lightning.calibration.quantiles import Quantiles
from numclip_lightning.calibration.temperature import TemperatureBy
from numclip_lightning.errors import ConfigError, check_choice

__all__ = ["BY_LEVEL", "Answers", "Choices"]

# What `by` is for groups that are the true levels; any other word names a column.
BY_LEVEL = "level"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What is asked for.

    Args:
        coverage: The share of new images whose true number shall lie in the interval, and whose true phrase in the set.
        intervals: The kind of interval: `absolute` is as wide for every image; `normalised` follows the image's own
            spread; `quantiles` stretches or shrinks quantiles of its distribution.
        sets: The score of sets of levels, see `level_sets`.
        by: Groups that each shall have the coverage: `level` (the true level), or the name of a column, such as `sex`
            or `phrase`; None asks for it over all images together.
        temperature: The score that the temperature is chosen by.

    Raises:
        ConfigError: If one is unknown or out of range.
    """

    coverage: float = 0.9
    intervals: Intervals = "normalised"
    sets: Sets = "shortest"
    by: str | None = None
    temperature: TemperatureBy = "nll"

    @property
    def tails(self) -> tuple[float, float]:
        """The shares of probability below the lower and the upper quantile, for `quantiles`."""
        # As they are written: (1 - 0.9) / 2 is a little less than 0.05.
        return round((1 - self.coverage) / 2, 9), round((1 + self.coverage) / 2, 9)

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_coverage(self.coverage)
        for name, kinds in (("intervals", Intervals), ("sets", Sets), ("temperature", TemperatureBy)):
            check_choice(name, getattr(self, name), get_args(kinds))
        if self.by in ("true_phrase", "true_level", "target", "error"):
            raise ConfigError(f"by is {self.by!r}, which new images lack; for the true level give by=level.")


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a method says of N images, and what is true of them.

    Args:
        value: Predicted numbers, shape (N,).
        target: True numbers, shape (N,); None for new images.
        spread: The standard deviation of each image's distribution, shape (N,); None if the method gives none.
        probabilities: Of the levels, shape (N, K); None if the method gives none.
        groups: The group of each image, N words; an empty one is of no known group.
        quantiles: Of the distribution over values, of N images; None if only the probabilities of levels are known.

    Raises:
        DataError: If they don't fit together, or a number is not finite.
    """

    value: Numbers
    target: Numbers | None = None
    spread: Numbers | None = None
    probabilities: Numbers | None = None
    groups: Sequence[str] | NDArray[Any] | None = None
    quantiles: Quantiles | None = None

    def __post_init__(self) -> None:
        """Check the arrays."""
        object.__setattr__(self, "value", numbers_of("value", self.value))
        if self.target is not None:
            object.__setattr__(self, "target", numbers_of("target", self.target))
        if self.spread is not None:
            object.__setattr__(self, "spread", numbers_of("spread", self.spread))
        if self.probabilities is not None:
            object.__setattr__(self, "probabilities", probabilities_of(self.probabilities))
        check_rows(**vars(self))

    @property
    def is_certain(self) -> bool:
        """Whether the method gives the number alone: the level of it has probability 1 on every image."""
        return self.probabilities is None or bool((self.probabilities.max(axis=1) == 1).all())
