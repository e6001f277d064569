"""The values of a scale: equally far apart, or each the same factor above the one before it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from numclip_lightning.errors import check_choice
from numclip_lightning.scale.ranges import GRID_TOLERANCE, check_finite, check_log_range, check_range, number_text

__all__ = ["Grid", "LinearGrid", "LogGrid", "Spacing", "build_grid"]

Spacing = Literal["linear", "log"]
"""How the values of a scale follow each other."""

# Whole numbers up to here are written with all their digits, also where neighbours are far apart: 128, not 130.
_WHOLE = 1e6


@dataclass(frozen=True)
class LinearGrid:
    """Values that are equally far apart.

    Args:
        minimum: The first value.
        maximum: The last one.
        step: Their distance.
    """

    minimum: float
    maximum: float
    step: float

    @property
    def count(self) -> int:
        """R, the number of values."""
        return round((self.maximum - self.minimum) / self.step) + 1

    @property
    def values(self) -> list[float]:
        """The values in order, R of them."""
        return [self.value(rank) for rank in range(self.count)]

    def value(self, rank: int) -> float:
        """Return the value of a rank."""
        # Rounded to 12 digits, so that 0.1 * 3 reads 0.3; multiplied, not summed, so that errors don't add up.
        return float(f"{self.minimum + rank * self.step:.12g}")

    @property
    def words(self) -> list[str]:
        """Every value as people write it, R of them."""
        return [number_text(value) for value in self.values]

    @property
    def finest(self) -> float:
        """The least distance of two values, in their unit."""
        return self.step

    @property
    def described(self) -> str:
        """The step for people."""
        return f"steps of {number_text(self.step)}"

    def place(self, number: float) -> float:
        """Return where a number is, in steps above the minimum."""
        return (number - self.minimum) / self.step

    def places(self, numbers: Tensor) -> Tensor:
        """Return where numbers are, in steps above the minimum; of the same shape."""
        return (numbers - self.minimum) / self.step

    def contains(self, numbers: Tensor) -> Tensor:
        """Return for each number whether it is in the range, but for rounding; False for NaN."""
        slack = GRID_TOLERANCE * self.step
        return (numbers >= self.minimum - slack) & (numbers <= self.maximum + slack)

    def upper(self, starts: Sequence[float]) -> Tensor:
        """Return the last value of each level, float32 (K,), for where levels start."""
        lower = torch.tensor(list(map(float, starts)))
        return torch.cat([lower[1:] - self.step, torch.tensor([float(self.maximum)])])

    def borders(self, starts: Sequence[float]) -> Tensor:
        """Return where one level ends and the next begins, float64 (K-1,)."""
        return torch.tensor(list(map(float, starts)))[1:].double() - self.step / 2

    def fault(self, start: float) -> str | None:
        """Return why a level can't start at a number within the range; None if it can."""
        off = abs(self.place(start) - round(self.place(start)))
        return "which is not a value of the scale" if off > GRID_TOLERANCE else None


@dataclass(frozen=True)
class LogGrid:
    """Values that are each the same factor above the one before, so that their logarithms are equally far apart.

    Args:
        minimum: The first value, greater than 0.
        maximum: The last one.
        step: The factor, greater than 1; it is changed to the nearest one that reaches the maximum in whole steps.
    """

    minimum: float
    maximum: float
    step: float

    @cached_property
    def count(self) -> int:
        """R, the number of values."""
        return round(math.log(self.maximum / self.minimum) / math.log(self.step)) + 1

    @cached_property
    def ratio(self) -> float:
        """The factor from a value to the next one."""
        steps = self.count - 1
        return float((self.maximum / self.minimum) ** (1 / steps)) if steps else self.step

    @property
    def values(self) -> list[float]:
        """The values in order, R of them."""
        return [self.value(rank) for rank in range(self.count)]

    def value(self, rank: int) -> float:
        """Return the value of a rank; that of the last one is the maximum, to the digit."""
        if 0 < rank == self.count - 1:
            return float(self.maximum)
        return float(f"{self.minimum * self.ratio**rank:.12g}")

    @property
    def words(self) -> list[str]:
        """Every value with the digits that tell it from its neighbours, R of them."""
        # A twentieth of a step, so that no two are alike.
        digits = max(2, math.ceil(-math.log10(self.ratio - 1)) + 2)
        return [_rounded(value, digits) for value in self.values]

    @property
    def finest(self) -> float:
        """The least distance of two values, in their unit: that of the first two."""
        return self.minimum * (self.ratio - 1)

    @property
    def described(self) -> str:
        """The factor for people."""
        size = f"{100 * (self.ratio - 1):.3g} %" if self.ratio < 1.5 else f"a factor of {self.ratio:.4g}"
        return f"steps of {size}"

    def place(self, number: float) -> float:
        """Return where a number is, in steps above the minimum; minus infinity for 0 and less."""
        return math.log(number / self.minimum) / math.log(self.ratio) if number > 0 else -math.inf

    def places(self, numbers: Tensor) -> Tensor:
        """Return where numbers are, in steps above the minimum; of the same shape."""
        return torch.log(numbers / self.minimum) / math.log(self.ratio)

    def contains(self, numbers: Tensor) -> Tensor:
        """Return for each number whether it is in the range, but for rounding; False for NaN, 0 and less."""
        slack = self.ratio**GRID_TOLERANCE
        found: Tensor = (numbers >= self.minimum / slack) & (numbers <= self.maximum * slack)
        return found

    def upper(self, starts: Sequence[float]) -> Tensor:
        """Return the last value of each level, float32 (K,), for where levels start: that before the next start."""
        return torch.tensor(self._upper(starts))

    def borders(self, starts: Sequence[float]) -> Tensor:
        """Return where one level ends and the next begins, float64 (K-1,): halfway between their logarithms."""
        ends = zip(self._upper(starts), starts[1:], strict=False)
        return torch.tensor([math.sqrt(upper * start) for upper, start in ends], dtype=torch.float64)

    def fault(self, start: float) -> str | None:
        """Return why a level can't start at a number within the range; None: between two values it may as well."""
        return None

    def first_ranks(self, starts: Sequence[float]) -> list[int]:
        """Return the rank of the first value of each level."""
        return [max(0, math.ceil(self.place(start) - GRID_TOLERANCE)) for start in starts]

    def _upper(self, starts: Sequence[float]) -> list[float]:
        ends = [*self.first_ranks(starts)[1:], self.count]
        return [self.value(end - 1) for end in ends]


Grid: TypeAlias = LinearGrid | LogGrid


def build_grid(minimum: float, maximum: float, step: float, spacing: Spacing) -> Grid:
    """Build the values of a scale.

    Raises:
        ConfigError: If the spacing is unknown; ScaleError, if the numbers contradict each other.
    """
    check_choice("scale.spacing", spacing, get_args(Spacing))
    check_finite(minimum, maximum, step)
    if spacing == "linear":
        check_range(minimum, maximum, step)
        return LinearGrid(minimum, maximum, step)
    check_log_range(minimum, maximum, step)
    return LogGrid(minimum, maximum, step)


def _rounded(value: float, digits: int) -> str:
    whole = float(f"{value:.9g}")
    return number_text(whole if whole.is_integer() and whole <= _WHOLE else float(f"{value:.{digits}g}"))
