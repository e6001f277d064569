"""Scales of too many values for a method that has an output for each: dollars in steps of 1."""

import math
from dataclasses import replace

from numclip_lightning.errors import refuse
from numclip_lightning.scale import Level, OrdinalScale

__all__ = ["MOST_VALUES", "check_number_of_levels", "check_number_of_values", "coarser_step"]

MOST_VALUES = 10_000
"""Above it, layers and losses over the values take gigabytes, and no value has images enough to be learned."""


# From this ratio of the ends on, distances in per cent fit the numbers better.
_WIDE = 10


def check_number_of_values(method: str, scale: OrdinalScale, remedy: str = "", most: int = MOST_VALUES) -> None:
    """Raise ConfigError if a scale has more values than a method can have outputs.

    Args:
        method: Its name, for the message.
        scale: The scale.
        remedy: What else the user may do, such as `"set classes=levels"`.
        most: How many it can have.
    """
    if scale.num_ranks <= most:
        return
    step = coarser_step(scale)
    advice = "give scale.step a greater number" if step is None else f"set scale.step to {step:g}"
    others = [remedy] if remedy else []
    if not scale.axis.logarithmic and scale.minimum > 0 and scale.maximum / scale.minimum >= _WIDE:
        others.insert(0, "set scale.spacing=log and scale.step=1.01 for values that are 1 % apart")
    refuse(
        f"the scale {scale.describe()} has {scale.num_ranks:,} values, and {method} has an output for each, which may "
        f"be {most:,} at most; {advice} (targets between two values keep their digits in the errors)"
        + "".join(f", or {other}" for other in others)
        + "."
    )


def check_number_of_levels(scale: OrdinalScale) -> None:
    """Raise ConfigError if a scale has more levels than any method, prediction file or metric can have columns."""
    if scale.num_levels <= MOST_VALUES:
        return
    step = coarser_step(replace(scale, levels=[Level("all", scale.minimum)]))
    advice = "give scale.step a greater number" if step is None else f"set scale.step to {step:g}"
    refuse(
        f"the scale {scale.describe()} has {scale.num_levels:,} levels, each with a phrase and a probability of its "
        f"own, which may be {MOST_VALUES:,} at most; give scale.levels a few phrases and where they start, or {advice}."
    )


def coarser_step(scale: OrdinalScale, most: int = 1000) -> float | None:
    """Return the smallest round step (1, 2 or 5 times a power of ten) with which a scale has few values.

    Of a logarithmic scale it is the smallest round factor, such as 1.002.

    Args:
        scale: The scale; its levels and its maximum must be whole steps above its minimum.
        most: How many steps it may have.

    Example:
        >>> levels = [{"phrase": "cheap", "start": 0}, {"phrase": "dear", "start": 500_000}]
        >>> coarser_step(OrdinalScale(0, 4_000_000, levels=levels))
        5000.0
    """
    if scale.axis.logarithmic:
        factors = (1 + float(f"{digit}e{exponent}") for exponent in range(-4, 2) for digit in (1, 2, 5))
        reach = scale.axis.maximum - scale.axis.minimum
        return next((factor for factor in factors if reach <= most * math.log(factor)), None)
    width = scale.maximum - scale.minimum
    marks = [width, *((scale.lower.double() - scale.minimum).tolist())]
    power = math.floor(math.log10(width / most))
    for exponent in range(power, power + 5):
        for digit in (1, 2, 5):
            step = float(f"{digit}e{exponent}")
            if width / step <= most and all(abs(mark / step - round(mark / step)) < 1e-6 for mark in marks):
                return step
    return None
