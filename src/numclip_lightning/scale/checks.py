"""Checks of a scale's arguments: range, levels and template."""

import math
import string
from collections.abc import Sequence

from numclip_lightning.errors import ScaleError
from numclip_lightning.scale.levels import Level

__all__ = ["GRID_TOLERANCE", "check_phrases", "check_range", "check_starts", "check_template", "number_text"]

GRID_TOLERANCE = 1e-3
"""Distance from the grid of values, in steps, at which a number still counts as on it: 0.1 is not a binary fraction."""


def check_range(minimum: float, maximum: float, step: float) -> None:
    """Raise ScaleError unless the range is finite, in order, and a whole number of steps."""
    for name, value in (("minimum", minimum), ("maximum", maximum), ("step", step)):
        if not math.isfinite(value):
            raise ScaleError(f"scale.{name} is {value}; give a finite number.")
    low, high, size = map(number_text, (minimum, maximum, step))
    if step <= 0:
        raise ScaleError(f"scale.step is {size}; give a number greater than 0.")
    if maximum < minimum:
        raise ScaleError(f"scale.minimum {low} is greater than scale.maximum {high}; swap them.")
    if _steps_off(maximum, minimum, step) > GRID_TOLERANCE:
        raise ScaleError(
            f"scale.maximum {high} is not a whole number of steps of {size} above scale.minimum {low}; change one of "
            "the three."
        )


def check_starts(levels: Sequence[Level], minimum: float, maximum: float, step: float, described: str) -> None:
    """Raise ScaleError unless levels start at the minimum, in order, at values of the scale.

    Args:
        levels: At least one.
        minimum: The smallest value of the scale.
        maximum: The largest value.
        step: The distance between values.
        described: The scale in words, for messages.
    """
    first, slack = levels[0], GRID_TOLERANCE * step
    if abs(first.start - minimum) > slack:
        raise ScaleError(
            f"the first level ({first.phrase!r}) starts at {number_text(first.start)}, but the scale at "
            f"{number_text(minimum)}; every value needs a level: start the first one at scale.minimum."
        )
    for before, level in zip([None, *levels], levels, strict=False):
        here = f"level {level.phrase!r} starts at {number_text(level.start)}"
        if not minimum - slack <= level.start <= maximum + slack:
            raise ScaleError(f"{here}, outside the scale {described}.")
        if _steps_off(level.start, minimum, step) > GRID_TOLERANCE:
            raise ScaleError(f"{here}, which is not a value of the scale {described}.")
        if before and level.start <= before.start:
            raise ScaleError(
                f"{here}, not after the level before it ({before.phrase!r} at {number_text(before.start)}); sort the "
                "levels by start."
            )


def check_phrases(levels: Sequence[Level]) -> None:
    """Raise ScaleError if a phrase is empty or two levels have the same words."""
    starts: dict[str, float] = {}
    for index, level in enumerate(levels):
        if not level.phrase.strip():
            raise ScaleError(f"level {index} (start {number_text(level.start)}) has an empty phrase; give it words.")
        # Towers read lower case with single spaces: phrases that differ only in these would be one prompt.
        key = " ".join(level.phrase.lower().split())
        if key in starts:
            raise ScaleError(
                f"the phrase {level.phrase!r} is used for the levels that start at {number_text(starts[key])} and "
                f"{number_text(level.start)}; two levels with the same words can't be told apart: rename one."
            )
        starts[key] = level.start


def check_template(template: str) -> None:
    """Raise ScaleError unless a template has exactly one `{}`, without a name or a format."""
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(template)]
    except ValueError as error:
        raise ScaleError(f"scale.template {template!r} can't be read: {error}.") from error
    if [place for place in fields if place[0] is not None] != [("", "", None)]:
        raise ScaleError(
            f"scale.template {template!r} must have exactly one '{{}}', the place for the phrase, "
            "as in 'a photo of a {}.'"
        )


def number_text(number: float) -> str:
    """Write a number of the grid as people do: 1930 and not 1.93e+03; 0.3 and not 0.1 + 0.2, 0.30000000000000004."""
    return f"{number:.12g}"


def _steps_off(value: float, minimum: float, step: float) -> float:
    """Return the distance of a number from the nearest grid point, in steps."""
    steps = (value - minimum) / step
    return abs(steps - round(steps))
