"""The coordinates in which the values of a scale are equally far apart: numbers, or their logarithms."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from torch import Tensor

from numclip_lightning.scale.grid import Grid, LogGrid

__all__ = ["Axis", "axis_of"]

# Of a natural logarithm: a head without bounds must not end in infinity, nor in 0, whose logarithm is none.
_FARTHEST = 80.0


class _Numbered(Protocol):
    """What has the numbers of all values: a scale."""

    @property
    def values(self) -> Tensor:
        """Every value in order, (R,), float32."""


@dataclass(frozen=True, eq=False)
class Axis:
    """Places of numbers on a scale: the numbers themselves, or on a logarithmic scale their natural logarithms.

    Methods learn, measure distances and take means in places, and answer with numbers. A distance of 0.05 on a
    logarithmic scale is about 5 % of the number.

    Attributes:
        logarithmic: Whether places are logarithms.
        minimum: The place of the smallest value.
        maximum: The place of the largest one.
        step: The distance of the places of neighbouring values.
        lower: The place of the first value of each level, (K,), float32.
        upper: The place of its last value, (K,), float32.
        values: The place of every value, (R,), float32.
        centers: The middle of both, (K,), float32.

    Example:
        >>> import torch
        >>> from numclip_lightning.scale import OrdinalScale
        >>> axis = OrdinalScale(1, 100, step=10, spacing="log").axis
        >>> axis.number(axis.of(torch.tensor([1.0, 100.0])).mean())
        tensor(10.)
    """

    logarithmic: bool
    minimum: float
    maximum: float
    step: float
    lower: Tensor
    upper: Tensor
    # Asked for its values only if somebody needs them: a scale may have millions.
    _scale: _Numbered = field(repr=False)

    @cached_property
    def values(self) -> Tensor:
        """The place of every value, (R,), float32."""
        return _logarithms(self._scale.values) if self.logarithmic else self._scale.values

    @property
    def centers(self) -> Tensor:
        """The middle of the first and the last value of each level, (K,), float32."""
        return (self.lower + self.upper) / 2

    def of(self, numbers: Tensor) -> Tensor:
        """Return the places of numbers, of the same shape; on a logarithmic scale they are greater than 0."""
        return numbers.log() if self.logarithmic else numbers

    def number(self, places: Tensor) -> Tensor:
        """Return the numbers at places, of the same shape."""
        return places.clamp(-_FARTHEST, _FARTHEST).exp() if self.logarithmic else places


def axis_of(grid: Grid, lower: Tensor, upper: Tensor, scale: _Numbered) -> Axis:
    """Return the axis of a scale: its grid, the first and last value of each level, (K,), and the scale."""
    if not isinstance(grid, LogGrid):
        return Axis(False, grid.minimum, grid.maximum, grid.step, lower, upper, scale)
    ends = math.log(grid.minimum), math.log(grid.maximum)
    return Axis(True, *ends, math.log(grid.ratio), _logarithms(lower), _logarithms(upper), scale)


def _logarithms(numbers: Tensor) -> Tensor:
    """Return natural logarithms, computed in float64, then rounded: a step may be a thousandth."""
    return numbers.double().log().float()
