"""Scales of too many values for a method that has an output for each: dollars in steps of 1."""

import math

from numclip_lightning.errors import ConfigError
from numclip_lightning.scale import OrdinalScale

__all__ = ["MOST_VALUES", "check_number_of_values", "coarser_step"]

MOST_VALUES = 10_000
"""Above it, layers and losses over the values take gigabytes, and no value has images enough to be learned."""


def check_number_of_values(method: str, scale: OrdinalScale, remedy: str = "") -> None:
    """Raise ConfigError if a scale has more values than a method can have outputs.

    Args:
        method: Its name, for the message.
        scale: The scale.
        remedy: What else the user may do, such as `"set classes=levels"`.
    """
    if scale.num_ranks <= MOST_VALUES:
        return
    step = coarser_step(scale)
    advice = "give scale.step a greater number" if step is None else f"set scale.step to {step:g}"
    raise ConfigError(
        f"the scale {scale.describe()} has {scale.num_ranks:,} values, and {method} has an output for each, which may "
        f"be {MOST_VALUES:,} at most; {advice} (targets between two values keep their digits in the errors)"
        + (f", or {remedy}." if remedy else ".")
    )


def coarser_step(scale: OrdinalScale, most: int = 1000) -> float | None:
    """Return the smallest round step (1, 2 or 5 times a power of ten) with which a scale has few values.

    Args:
        scale: The scale; its levels and its maximum must be whole steps above its minimum.
        most: How many steps it may have.

    Example:
        >>> levels = [{"phrase": "cheap", "start": 0}, {"phrase": "dear", "start": 500_000}]
        >>> coarser_step(OrdinalScale(0, 4_000_000, levels=levels))
        5000.0
    """
    width = scale.maximum - scale.minimum
    marks = [width, *((scale.lower.double() - scale.minimum).tolist())]
    power = math.floor(math.log10(width / most))
    for exponent in range(power, power + 5):
        for digit in (1, 2, 5):
            step = float(f"{digit}e{exponent}")
            if width / step <= most and all(abs(mark / step - round(mark / step)) < 1e-6 for mark in marks):
                return step
    return None
