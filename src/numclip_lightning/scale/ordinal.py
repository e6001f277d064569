"""The ordered scale: from targets in their own unit to levels and ranks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from numclip_lightning.errors import ScaleError
from numclip_lightning.scale.axis import Axis, axis_of
from numclip_lightning.scale.checks import check_phrases, check_starts, check_template
from numclip_lightning.scale.grid import Grid, Spacing, build_grid
from numclip_lightning.scale.levels import Level, LevelLike, as_level
from numclip_lightning.scale.ranges import number_text

__all__ = ["OrdinalScale"]


@dataclass(frozen=True)
class OrdinalScale:
    """A range of numbers, the step between them, and the phrases for parts of it.

    This class serves three kinds of scale: *coarse* levels, each covering many values (ages); levels that *are* the
    values (decades, aesthetic scores: one level starts at each value); and no phrases at all: if `levels` is empty,
    every value becomes a level whose phrase is its number.

    With `spacing="log"`, for prices and large counts, each value is the same factor above the one before. Then methods
    learn and read the logarithm of the number; targets, predictions and metrics stay in its unit.

    Args:
        minimum: The smallest value, in the target's unit.
        maximum: The largest value; `maximum - minimum` is a whole number of steps.
        step: The distance between neighbouring values, greater than 0. With `spacing="log"` it is the factor from one
            to the next, greater than 1, such as 1.05 for 5 %: the nearest one is taken that reaches the maximum.
        unit: The unit of the numbers, only for messages: `"years"`.
        template: The sentence around a phrase, with one `{}` in the phrase's place.
        levels: The levels in order of `start`; the first starts at `minimum`. A mapping with the keys `phrase` and
            `start` becomes a `Level`. On a logarithmic scale a start may lie between two values.
        spacing: How the values follow each other: `linear`, or `log` on a scale above 0.

    Raises:
        ScaleError: If the arguments contradict each other: bounds in the wrong order or not finite, a range that is
            not a whole number of steps, levels out of order, not covering the range or off the grid of values, a
            phrase that is empty or used twice, a template without exactly one place for the phrase; a logarithmic
            scale with a minimum of 0 or less, or a step that is no factor above 1.

    Example:
        >>> ages = OrdinalScale(
        ...     minimum=0, maximum=99, unit="years", template="a photo of a {}.",
        ...     levels=[{"phrase": "child", "start": 0}, {"phrase": "adult", "start": 18}],
        ... )
        >>> ages.num_levels, ages.num_ranks
        (2, 100)
        >>> ages.prompts
        ['a photo of a child.', 'a photo of a adult.']
        >>> ages.centers
        tensor([ 8.5000, 58.5000])
        >>> prices = OrdinalScale(1000, 16_000, step=2, unit="dollars", spacing="log")
        >>> prices.values
        tensor([ 1000.,  2000.,  4000.,  8000., 16000.])
    """

    minimum: float
    maximum: float
    step: float = 1.0
    unit: str = ""
    template: str = "{}"
    levels: Sequence[LevelLike] = field(default_factory=list)
    spacing: Spacing = "linear"

    def __post_init__(self) -> None:
        """Check the arguments; without levels, make one of every value."""
        grid = self.grid
        check_template(self.template)
        levels = [as_level(level) for level in self.levels] or list(map(Level, grid.words, grid.values))
        # A tuple, so that a scale has a hash and its levels can't change.
        object.__setattr__(self, "levels", tuple(levels))
        check_starts(self._levels, grid, self.describe())
        check_phrases(self._levels)

    @classmethod
    def of(cls, scale: "OrdinalScale | Mapping[str, Any]") -> "OrdinalScale":
        """Return a scale as it is, or build it from the plain values of `to_dict`."""
        return scale if isinstance(scale, OrdinalScale) else cls(**scale)

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments as plain values (numbers, strings, lists, dicts), as YAML and checkpoints keep them."""
        return {**asdict(self), "levels": [asdict(level) for level in self._levels]}

    @property
    def _levels(self) -> tuple[Level, ...]:
        return cast("tuple[Level, ...]", self.levels)

    @property
    def _starts(self) -> list[float]:
        return [level.start for level in self._levels]

    @cached_property
    def grid(self) -> Grid:
        """The values, and where numbers are among them."""
        return build_grid(self.minimum, self.maximum, self.step, self.spacing)

    @cached_property
    def axis(self) -> Axis:
        """The coordinates in which methods learn: numbers, or on a logarithmic scale their logarithms."""
        return axis_of(self.grid, self.lower, self.upper, self)

    @property
    def num_levels(self) -> int:
        """K, the number of levels."""
        return len(self.levels)

    @property
    def num_ranks(self) -> int:
        """R, the number of values."""
        return self.grid.count

    @cached_property
    def values(self) -> Tensor:
        """Every value of the scale in order, float32 of shape (R,)."""
        return torch.tensor(self.grid.values)

    @cached_property
    def lower(self) -> Tensor:
        """The first value of each level, float32 of shape (K,)."""
        return torch.tensor([float(level.start) for level in self._levels])

    @cached_property
    def borders(self) -> Tensor:
        """Where one level ends and the next begins, halfway between their values; float64 of shape (K-1,)."""
        return self.grid.borders(self._starts)

    @cached_property
    def upper(self) -> Tensor:
        """The last value of each level, float32 of shape (K,); equal to `lower` if a level is a single value."""
        return self.grid.upper(self._starts)

    @cached_property
    def centers(self) -> Tensor:
        """The middle of each level's first and last value, float32 of shape (K,); their geometric mean with `log`."""
        return self.axis.number(self.axis.centers)

    @property
    def phrases(self) -> list[str]:
        """The words of each level, K of them."""
        return [level.phrase for level in self._levels]

    @property
    def numbers(self) -> list[str]:
        """Every value as people write it ("31", "0.5"), R of them; the phrases if no levels are given."""
        return self.grid.words

    @property
    def prompts(self) -> list[str]:
        """The template with each level's phrase in its place, K of them."""
        return [self.template.format(phrase) for phrase in self.phrases]

    def pool_ranks(self, logits: Tensor) -> Tensor:
        """Turn logits over values into logits over levels.

        The probability of a level is the sum over its values, so the new logit is the log-sum-exp over them.

        Args:
            logits: Shape (B, R).

        Returns:
            Shape (B, K).

        Example:
            >>> scale = OrdinalScale(1, 3, levels=[{"phrase": "low", "start": 1}, {"phrase": "high", "start": 3}])
            >>> scale.pool_ranks(torch.zeros(1, 3)).softmax(dim=1)
            tensor([[0.6667, 0.3333]])
        """
        sizes: list[int] = torch.bincount(self.to_level(self.values)).tolist()
        return torch.stack([part.logsumexp(dim=1) for part in torch.split(logits, sizes, dim=1)], dim=1)

    def describe(self) -> str:
        """Return the range for people: `"0..116 years in steps of 1"`."""
        unit = f" {self.unit}" if self.unit else ""
        return f"{number_text(self.minimum)}..{number_text(self.maximum)}{unit} in {self.grid.described}"

    def contains(self, target: Tensor) -> Tensor:
        """Return for each target whether it is in the range; a bool tensor of the same shape, False for NaN."""
        return self.grid.contains(target)

    def to_level(self, target: Tensor | float) -> Tensor:
        """Return the level of each target.

        A target between two values belongs to the level of the nearest one: in whole years, 12.6 to the level of 13.

        Args:
            target: Numbers in the target's unit, any shape.

        Returns:
            int64 of the same shape and device, 0..K-1.

        Raises:
            ScaleError: If a target is outside the scale; the message has its value.

        Example:
            >>> scale = OrdinalScale(0, 9, levels=[{"phrase": "few", "start": 0}, {"phrase": "many", "start": 5}])
            >>> scale.to_level(torch.tensor([0.0, 4.0, 4.6, 9.0]))
            tensor([0, 0, 1, 1])
        """
        return self.level_at(self._checked(target))

    def level_at(self, value: Tensor) -> Tensor:
        """Return the level of each predicted number; outside the scale, the first or the last level.

        Same rule as `to_level`, without checks: predictions may be outside the scale, and a check waits for the device.

        Args:
            value: Numbers in the target's unit, any shape.

        Returns:
            int64 of the same shape and device, 0..K-1.
        """
        return torch.bucketize(value.double(), self.borders.to(value.device), right=True)

    def to_rank(self, target: Tensor | float) -> Tensor:
        """Return the index of the value nearest to each target; halfway counts upwards.

        Args:
            target: Numbers in the target's unit, any shape.

        Returns:
            int64 of the same shape and device, 0..R-1.

        Raises:
            ScaleError: If a target is outside the scale; the message has its value.

        Example:
            >>> OrdinalScale(1930, 1970, step=10).to_rank(torch.tensor([1930.0, 1950.0, 1970.0]))
            tensor([0, 2, 4])
        """
        return (self.grid.places(self._checked(target)) + 0.5).floor().long().clamp(0, self.num_ranks - 1)

    def _checked(self, target: Tensor | float) -> Tensor:
        target = torch.as_tensor(target, dtype=torch.float64)
        outside = ~self.contains(target)
        if outside.any():
            wrong = target[outside].flatten()
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise ScaleError(
                f"target {number_text(wrong[0].item())}{more} is outside the scale {self.describe()}; "
                "widen scale.minimum and scale.maximum, or correct the label."
            )
        return target
