"""The ordered scale: its range and step, and its levels, each a phrase and the numbers it covers."""

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from numclip_lightning.errors import ScaleError

__all__ = ["Level", "OrdinalScale"]

# How far a number may lie off the grid of values, in steps, and still be on it: 0.1 is not a binary fraction.
_GRID_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Level:
    """One coarse bin of a scale.

    Args:
        phrase: The words for it, such as `"young adult"`.
        start: The first value it covers, in the target's unit; it ends where the next level starts.
    """

    phrase: str
    start: float


@dataclass(frozen=True)
class OrdinalScale:
    """A range of numbers, the step between them, and the phrases for parts of it.

    Three kinds of scale are all this class: *coarse* levels, each covering many values (ages); levels that *are* the
    values (decades, aesthetic scores: one level starts at each value); and no phrases at all, where `levels` is left
    empty and every value becomes a level whose phrase is its number.

    Args:
        minimum: The smallest value, in the target's unit.
        maximum: The largest value; `maximum - minimum` is a whole number of steps.
        step: The distance between neighbouring values, greater than 0.
        unit: What the numbers count, for people only: `"years"`.
        template: The sentence around a phrase, with one `{}` in the phrase's place.
        levels: The levels in order of `start`; the first starts at `minimum`. Mappings with the keys `phrase` and
            `start` are taken too.

    Raises:
        ScaleError: Where the arguments contradict each other: bounds in the wrong order or not finite, a range that is
            not a whole number of steps, levels out of order, not covering the range or off the grid of values, a
            phrase that is empty or used twice, a template without exactly one place for the phrase.
    """

    minimum: float
    maximum: float
    step: float = 1.0
    unit: str = ""
    template: str = "{}"
    levels: Sequence[Level] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check the arguments and give every value a level where none were named."""
        self._check_range()
        _check_template(self.template)
        levels = [_level(level) for level in self.levels] or [
            Level(number, value) for number, value in zip(self.numbers, self._grid, strict=True)
        ]
        # A tuple, so that a scale hashes and nobody changes its levels afterwards.
        object.__setattr__(self, "levels", tuple(levels))
        self._check_levels()

    @classmethod
    def of(cls, scale: "OrdinalScale | Mapping[str, Any]") -> "OrdinalScale":
        """Return a scale as it is, or build it from the plain values of `to_dict`."""
        return scale if isinstance(scale, OrdinalScale) else cls(**scale)

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments as plain values (numbers, strings, lists, dicts), as YAML and checkpoints keep them."""
        return {**asdict(self), "levels": [asdict(level) for level in self.levels]}

    def _check_range(self) -> None:
        for name in ("minimum", "maximum", "step"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ScaleError(f"scale.{name} is {value}; give a finite number.")
        if self.step <= 0:
            raise ScaleError(f"scale.step is {_text(self.step)}; give a number greater than 0.")
        if self.maximum < self.minimum:
            raise ScaleError(
                f"scale.minimum {_text(self.minimum)} is greater than scale.maximum {_text(self.maximum)}; swap them."
            )
        if self._steps_off(self.maximum) > _GRID_TOLERANCE:
            raise ScaleError(
                f"scale.maximum {_text(self.maximum)} is not a whole number of steps of {_text(self.step)} above "
                f"scale.minimum {_text(self.minimum)}; change one of the three."
            )

    def _check_levels(self) -> None:
        if abs(self.levels[0].start - self.minimum) > _GRID_TOLERANCE * self.step:
            raise ScaleError(
                f"the first level ({self.levels[0].phrase!r}) starts at {_text(self.levels[0].start)}, but the scale "
                f"at {_text(self.minimum)}; every value needs a level: start the first one at scale.minimum."
            )
        phrases: dict[str, float] = {}
        for index, level in enumerate(self.levels):
            if not level.phrase.strip():
                raise ScaleError(f"level {index} (start {_text(level.start)}) has an empty phrase; give it words.")
            # Towers read lower case with single spaces: phrases that differ in no other way would be one prompt.
            key = " ".join(level.phrase.lower().split())
            if key in phrases:
                raise ScaleError(
                    f"the phrase {level.phrase!r} stands for the levels that start at {_text(phrases[key])} and "
                    f"{_text(level.start)}; two levels with the same words can't be told apart: rename one."
                )
            phrases[key] = level.start
            self._check_start(index, level)

    def _check_start(self, index: int, level: Level) -> None:
        if not self.minimum - _GRID_TOLERANCE * self.step <= level.start <= self.maximum + _GRID_TOLERANCE * self.step:
            raise ScaleError(
                f"level {level.phrase!r} starts at {_text(level.start)}, outside the scale {self.describe()}."
            )
        if self._steps_off(level.start) > _GRID_TOLERANCE:
            raise ScaleError(
                f"level {level.phrase!r} starts at {_text(level.start)}, which is not a value of the scale "
                f"{self.describe()}."
            )
        before = self.levels[index - 1]
        if index and level.start <= before.start:
            raise ScaleError(
                f"level {level.phrase!r} starts at {_text(level.start)}, not after the level before it "
                f"({before.phrase!r} at {_text(before.start)}); sort the levels by start."
            )

    def _steps_off(self, value: float) -> float:
        """Return how far a number lies from the nearest grid point, in steps."""
        steps = (value - self.minimum) / self.step
        return abs(steps - round(steps))

    @property
    def _grid(self) -> list[float]:
        # Rounded to 12 digits, so that 0.1 * 3 reads 0.3; multiplied, not summed, so that errors don't add up.
        return [float(f"{self.minimum + rank * self.step:.12g}") for rank in range(self.num_ranks)]

    @property
    def num_levels(self) -> int:
        """K, the number of levels."""
        return len(self.levels)

    @property
    def num_ranks(self) -> int:
        """R, the number of values."""
        return round((self.maximum - self.minimum) / self.step) + 1

    @cached_property
    def values(self) -> Tensor:
        """Every value of the scale in order, float32 of shape (R,)."""
        return torch.tensor(self._grid)

    @cached_property
    def lower(self) -> Tensor:
        """The first value of each level, float32 of shape (K,)."""
        return torch.tensor([float(level.start) for level in self.levels])

    @cached_property
    def upper(self) -> Tensor:
        """The last value of each level, float32 of shape (K,); equal to `lower` where a level is a single value."""
        return torch.cat([self.lower[1:] - self.step, torch.tensor([float(self.maximum)])])

    @cached_property
    def centers(self) -> Tensor:
        """The middle of each level's first and last value, float32 of shape (K,)."""
        return (self.lower + self.upper) / 2

    @property
    def phrases(self) -> list[str]:
        """The words of each level, K of them."""
        return [level.phrase for level in self.levels]

    @property
    def numbers(self) -> list[str]:
        """Every value as people write it ("31", "0.5"), R of them; what phrases are where there are no words."""
        return [_text(value) for value in self._grid]

    @property
    def prompts(self) -> list[str]:
        """The template with each level's phrase in its place, K of them."""
        return [self.template.format(phrase) for phrase in self.phrases]

    def pool_ranks(self, logits: Tensor) -> Tensor:
        """Turn logits over values into logits over levels.

        The probability of a level is the sum over its values, so that the new logit is the log-sum-exp over them.

        Args:
            logits: Shape (B, R).

        Returns:
            Shape (B, K).
        """
        sizes: list[int] = torch.bincount(self.to_level(self.values)).tolist()
        return torch.stack([part.logsumexp(dim=1) for part in torch.split(logits, sizes, dim=1)], dim=1)

    def describe(self) -> str:
        """Return the range for people: `"0..116 years in steps of 1"`."""
        unit = f" {self.unit}" if self.unit else ""
        return f"{_text(self.minimum)}..{_text(self.maximum)}{unit} in steps of {_text(self.step)}"

    def contains(self, target: Tensor) -> Tensor:
        """Tell for each target whether it lies on the scale's range; a bool tensor of the same shape, False for NaN."""
        slack = _GRID_TOLERANCE * self.step
        return (target >= self.minimum - slack) & (target <= self.maximum + slack)

    def to_level(self, target: Tensor | float) -> Tensor:
        """Return the level of each target.

        A target between two values belongs to the level of the nearest one: of whole years, 12.6 to that of 13.

        Args:
            target: Numbers in the target's unit, any shape.

        Returns:
            int64 of the same shape and device, 0..K-1.

        Raises:
            ScaleError: If a target lies outside the scale, naming it.
        """
        return self.level_at(self._checked(target))

    def level_at(self, value: Tensor) -> Tensor:
        """Return the level of each predicted number; beyond the ends of the scale, the first or the last level.

        By the rule of `to_level`, but it refuses nothing and waits for no device: predictions go where they go.

        Args:
            value: Numbers in the target's unit, any shape.

        Returns:
            int64 of the same shape and device, 0..K-1.
        """
        # A level begins halfway between its first value and the one before.
        starts = self.lower.to(value.device, torch.float64)[1:] - self.step / 2
        return torch.bucketize(value.double(), starts, right=True)

    def to_rank(self, target: Tensor | float) -> Tensor:
        """Return the index of the value nearest to each target; halfway counts upwards.

        Args:
            target: Numbers in the target's unit, any shape.

        Returns:
            int64 of the same shape and device, 0..R-1.

        Raises:
            ScaleError: If a target lies outside the scale, naming it.
        """
        steps = (self._checked(target) - self.minimum) / self.step
        return (steps + 0.5).floor().long().clamp(0, self.num_ranks - 1)

    def _checked(self, target: Tensor | float) -> Tensor:
        target = torch.as_tensor(target, dtype=torch.float64)
        outside = ~self.contains(target)
        if outside.any():
            wrong = target[outside].flatten()
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise ScaleError(
                f"target {_text(wrong[0].item())}{more} lies outside the scale {self.describe()}; "
                "widen scale.minimum and scale.maximum, or mend the label."
            )
        return target


def _level(level: Level | Mapping[str, Any]) -> Level:
    if isinstance(level, Mapping):
        if set(level) != {"phrase", "start"}:
            raise ScaleError(f"the level {dict(level)} must have exactly the keys 'phrase' and 'start'.")
        level = Level(**level)
    if not isinstance(level.phrase, str):
        raise ScaleError(f"the phrase {level.phrase!r} of the level at {level.start} is not text; put it in quotes.")
    return level


def _text(number: float) -> str:
    """Write a number as people do: 1930, not 1930.0 and not 1.93e+03."""
    return f"{number:.12g}"


def _check_template(template: str) -> None:
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(template)]
    except ValueError as error:
        raise ScaleError(f"scale.template {template!r} can't be read: {error}.") from error
    if [place for place in fields if place[0] is not None] != [("", "", None)]:
        raise ScaleError(
            f"scale.template {template!r} must hold exactly one '{{}}', the place for the phrase, "
            "as in 'a photo of a {}.'"
        )
