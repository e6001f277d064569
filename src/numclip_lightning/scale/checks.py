"""Checks of a scale's words: where levels start, their phrases and the template."""

import string
from collections.abc import Sequence

from numclip_lightning.errors import ScaleError, refuse
from numclip_lightning.scale.grid import Grid, LogGrid
from numclip_lightning.scale.levels import Level
from numclip_lightning.scale.ranges import GRID_TOLERANCE, number_text

__all__ = ["check_phrases", "check_starts", "check_template"]


def check_starts(levels: Sequence[Level], grid: Grid, described: str) -> None:
    """Raise ScaleError unless levels start at the minimum, in order, and each covers a value of the scale at least.

    Args:
        levels: At least one.
        grid: The values of the scale.
        described: The scale in words, for messages.
    """
    first = levels[0]
    if abs(grid.place(first.start)) > GRID_TOLERANCE:
        raise ScaleError(
            f"the first level ({first.phrase!r}) starts at {number_text(first.start)}, but the scale at "
            f"{number_text(grid.minimum)}; every value needs a level: start the first one at scale.minimum."
        )
    for before, level in zip([None, *levels], levels, strict=False):
        here = f"level {level.phrase!r} starts at {number_text(level.start)}"
        if not -GRID_TOLERANCE <= grid.place(level.start) <= grid.count - 1 + GRID_TOLERANCE:
            raise ScaleError(f"{here}, outside the scale {described}.")
        if fault := grid.fault(level.start):
            raise ScaleError(f"{here}, {fault} {described}.")
        if before and level.start <= before.start:
            raise ScaleError(
                f"{here}, not after the level before it ({before.phrase!r} at {number_text(before.start)}); sort the "
                "levels by start."
            )
    if isinstance(grid, LogGrid):
        _check_filled(levels, grid, described)


def _check_filled(levels: Sequence[Level], grid: LogGrid, described: str) -> None:
    """Raise ScaleError if no value lies between the starts of two levels, which need not be values."""
    ranks = grid.first_ranks([level.start for level in levels])
    for rank, after, level in zip(ranks, ranks[1:], levels, strict=False):
        if rank >= after:
            raise ScaleError(
                f"level {level.phrase!r}, which starts at {number_text(level.start)}, covers no value of the scale "
                f"{described}; give scale.step a smaller factor, or join it with the next level."
            )


def check_phrases(levels: Sequence[Level]) -> None:
    """Raise ScaleError if a phrase is empty or two levels have the same words."""
    starts: dict[str, float] = {}
    for index, level in enumerate(levels):
        if not level.phrase.strip():
            refuse(f"level {index} (start {number_text(level.start)}) has an empty phrase; give it words.", ScaleError)
        # Towers read lower case with single spaces: phrases that differ only in these would be one prompt.
        key = " ".join(level.phrase.lower().split())
        if key in starts:
            refuse(
                f"the phrase {level.phrase!r} is used for the levels that start at {number_text(starts[key])} and "
                f"{number_text(level.start)}; two levels with the same words can't be told apart: rename one.",
                ScaleError,
            )
        starts[key] = level.start


def check_template(template: str) -> None:
    """Raise ScaleError unless a template has exactly one `{}`, without a name or a format."""
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(template)]
    except ValueError as error:
        raise ScaleError(f"scale.template {template!r} can't be read: {error}.") from error
    if [place for place in fields if place[0] is not None] != [("", "", None)]:
        refuse(
            f"scale.template {template!r} must have exactly one '{{}}', the place for the phrase, "
            "as in 'a photo of a {}.'",
            ScaleError,
        )
