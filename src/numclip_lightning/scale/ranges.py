"""Checks of a scale's range: minimum, maximum and step, for values that are even and for those of a factor."""

import math

from numclip_lightning.errors import ScaleError

__all__ = ["GRID_TOLERANCE", "check_finite", "check_log_range", "check_range", "number_text"]

GRID_TOLERANCE = 1e-3
"""Distance from the grid of values, in steps, at which a number still counts as on it: 0.1 is not a binary fraction."""

# How many steps the advice for a factor has.
_STEPS = 100


def check_finite(minimum: float, maximum: float, step: float) -> None:
    """Raise ScaleError unless all three are finite and the range is in order."""
    for name, value in (("minimum", minimum), ("maximum", maximum), ("step", step)):
        if not math.isfinite(value):
            raise ScaleError(f"scale.{name} is {value}; give a finite number.")


def check_range(minimum: float, maximum: float, step: float) -> None:
    """Raise ScaleError unless a range of finite numbers is in order and a whole number of steps."""
    low, high, size = map(number_text, (minimum, maximum, step))
    if step <= 0:
        raise ScaleError(f"scale.step is {size}; give a number greater than 0.")
    _check_order(minimum, maximum)
    steps = (maximum - minimum) / step
    if abs(steps - round(steps)) > GRID_TOLERANCE:
        raise ScaleError(
            f"scale.maximum {high} is not a whole number of steps of {size} above scale.minimum {low}; change one of "
            "the three."
        )


def check_log_range(minimum: float, maximum: float, step: float) -> None:
    """Raise ScaleError unless a range of finite numbers is in order, above 0, and the step a factor that fits in it."""
    if minimum <= 0:
        raise ScaleError(
            f"scale.minimum is {number_text(minimum)}, and a logarithmic scale (scale.spacing=log) has no place for 0 "
            "and less; start it at the smallest number above 0 that occurs, such as 1 for counts (where 0 occurs, add "
            "1 to all numbers of the lists), or set scale.spacing=linear."
        )
    _check_order(minimum, maximum)
    if step <= 1:
        raise ScaleError(
            f"scale.step is {number_text(step)}, and on a logarithmic scale (scale.spacing=log) it is the factor from "
            f"each value to the next; give a number above 1, such as {_advised(minimum, maximum):g}."
        )
    if maximum > minimum and round(math.log(maximum / minimum) / math.log(step)) < 1:
        raise ScaleError(
            f"scale.step is {number_text(step)}, and scale.maximum only {number_text(maximum / minimum)} times "
            f"scale.minimum; on a logarithmic scale it is the factor from each value to the next: give a smaller one, "
            f"such as {_advised(minimum, maximum):g}."
        )


def number_text(number: float) -> str:
    """Write a number of the grid as people do: 1930 and not 1.93e+03; 0.3 and not 0.1 + 0.2, 0.30000000000000004."""
    return f"{number:.12g}"


def _check_order(minimum: float, maximum: float) -> None:
    if maximum < minimum:
        low, high = number_text(minimum), number_text(maximum)
        raise ScaleError(f"scale.minimum {low} is greater than scale.maximum {high}; swap them.")


def _advised(minimum: float, maximum: float) -> float:
    """Return a factor, rounded to two digits of what it adds, with which the range has about a hundred values."""
    added = float(f"{(maximum / minimum) ** (1 / _STEPS) - 1:.2g}") if maximum > minimum else 0.05
    return 1 + max(added, 1e-3)
