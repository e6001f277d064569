"""A scale for a list of numbers: its range, its step, and phrases to edit."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from numclip_lightning.errors import format_number

__all__ = ["ProposedScale", "propose_scale"]

# Names of things that can be counted: a caption says "3 fingers", and not "fingers 3".
_THINGS = {"people": "person", "cells": "cell", "fingers": "finger", "objects": "object"}
_MOST_LEVELS = 12
# From this ratio of the largest and the smallest number on, a logarithmic scale may fit better.
_WIDE = 100
_STEPS = 100
# Whole numbers over a longer range are read in coarser steps: an output and an image or more for each would be needed.
_MOST_WHOLE, _WHOLE_STEPS = 2000, 1000
_PARTS = 5


class _Kind(NamedTuple):
    """What a number may be, by words in its name."""

    names: tuple[str, ...]
    unit: str
    template: str
    phrases: tuple[str, ...]


_ANY = _Kind(
    (), "", "a photo with {}.",
    ("a very low value", "a low value", "a medium value", "a high value", "a very high value"),
)  # fmt: skip
_KINDS = (
    _Kind(
        ("age",), "years", "a photo of a {}.",
        ("child", "young adult", "adult", "middle-aged adult", "elderly person"),
    ),
    _Kind(
        ("count", "number", "counts", "people", "cells", "fingers", "objects"), "", "a photo of {}.",
        ("hardly any", "a few", "several", "many", "a great many"),
    ),
    _Kind(
        ("score", "rating", "quality", "mos", "aesthetics", "beauty"), "points", "a photo of {} quality.",
        ("bad", "poor", "fair", "good", "excellent"),
    ),
    _Kind(
        ("grade", "severity", "stage", "diagnosis", "damage", "disease"), "", "an image with {}.",
        ("no findings", "mild findings", "moderate findings", "severe findings", "very severe findings"),
    ),
    _Kind(("year", "decade", "built", "date"), "", "a photo of the {}.", ()),
    _Kind(
        ("price", "cost"), "", "a photo of something {}.",
        ("cheap", "inexpensive", "mid-priced", "expensive", "luxurious"),
    ),
)  # fmt: skip


class ProposedScale(NamedTuple):
    """A scale as plain values, and why it is this one."""

    arguments: dict[str, Any]
    reasons: list[str]


def propose_scale(targets: Sequence[float], name: str = "", words: Sequence[str] = ()) -> ProposedScale:
    """Propose a scale for the numbers of a list.

    Few whole numbers are levels of their own; of others, five levels hold about as many images each.

    Args:
        targets: The numbers, at least one.
        name: What the number is called, such as `age`.
        words: The words of 0, 1, 2 and so on, where the labels are words.

    Example:
        >>> scale, reasons = propose_scale([0, 1, 1, 2, 3], "grade")
        >>> scale["minimum"], scale["maximum"], scale["step"], [level["phrase"] for level in scale["levels"]][:2]
        (0, 3, 1, ['no findings', 'mild findings'])
    """
    kind = next((kind for kind in _KINDS if set(_words_of(name)) & set(kind.names)), _ANY)
    if words:
        levels = [{"phrase": word.replace("_", " ").lower(), "start": number} for number, word in enumerate(words)]
        reason = f"Each of the {len(words)} words is a level of its own."
        return ProposedScale(_scale(0, len(words) - 1, 1, "", "a photo of {}.", levels), [reason])
    low, high = min(targets), max(targets)
    whole = all(float(target).is_integer() for target in targets)
    step = 1 if whole and high - low <= _MOST_WHOLE else _nice((high - low) / (_WHOLE_STEPS if whole else _STEPS))
    minimum, maximum = _on_grid(math.floor(low / step), step), _on_grid(math.ceil(high / step), step)
    reasons = [
        f"The numbers go from {format_number(low)} to {format_number(high)}"
        + (", all whole: " if whole else ", with fractions: ")
        + f"the scale is {format_number(minimum)} to {format_number(maximum)} in steps of {format_number(step)}."
        " Widen it if new images may lie beyond."
    ]
    if low > 0 and high / low >= _WIDE:
        reasons.append(
            f"The largest number is {high / low:.3g} times the smallest: if errors count in per cent, as of prices, "
            "start the scale above 0 with spacing: log and step: 1.02 (docs/howto/scales.md)."
        )
    if whole and maximum - minimum < _MOST_LEVELS:
        values = [int(minimum) + i for i in range(int(maximum - minimum) + 1)]
        worded = kind is not _ANY and len(values) <= len(kind.phrases)
        phrases = _phrases(kind, values, maximum) if worded else _numbered(values, kind, name)
        levels = [{"phrase": phrase, "start": value} for phrase, value in zip(phrases, values, strict=True)]
        reasons.append(f"{len(values)} values are few enough to be a level each.")
    else:
        starts = _starts(sorted(targets), minimum, step)
        phrases = _phrases(kind, starts, maximum)
        levels = [{"phrase": phrase, "start": start} for phrase, start in zip(phrases, starts, strict=True)]
        reasons.append(f"{len(levels)} levels hold about as many images each.")
    reasons.append("EDIT: the phrases are guesses; say what is seen in the images, as a caption would.")
    return ProposedScale(_scale(minimum, maximum, step, kind.unit, kind.template, levels), reasons)


def _scale(
    low: float, high: float, step: float, unit: str, template: str, levels: list[dict[str, Any]]
) -> dict[str, Any]:
    unit_of = {"unit": unit} if unit else {}
    return {"minimum": low, "maximum": high, "step": step, **unit_of, "template": template, "levels": levels}


def _words_of(name: str) -> list[str]:
    return "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()


def _nice(width: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is not above a width."""
    if width <= 0:
        return 1
    power = 10.0 ** math.floor(math.log10(width))
    step = max(factor * power for factor in (1, 2, 5) if factor * power <= width * (1 + 1e-9))
    return int(step) if step >= 1 else float(f"{step:.12g}")


def _on_grid(steps: int, step: float) -> float:
    number = float(f"{steps * step:.12g}")
    return int(number) if number.is_integer() else number


def _starts(ordered: list[float], minimum: float, step: float) -> list[float]:
    """Return where levels start, on the grid: at the fifths of the images, each once."""
    starts = [minimum]
    for part in range(1, _PARTS):
        fifth = ordered[len(ordered) * part // _PARTS]
        start = _on_grid(math.ceil(fifth / step - 1e-9), step)
        if start > starts[-1] and start <= ordered[-1]:
            starts.append(start)
    return starts


def _numbered(values: Sequence[int], kind: _Kind, name: str) -> list[str]:
    what = " ".join(_words_of(name)) or "value"
    if what in _THINGS:
        return [f"{value} {_THINGS[what] if value == 1 else what}" for value in values]
    return [f"{value}" if kind.names[:1] == ("year",) else f"{what} {value}" for value in values]


def _phrases(kind: _Kind, starts: Sequence[float], maximum: float) -> list[str]:
    """Return a phrase for each level: all of the kind's, or those at even distances where there are fewer levels."""
    if not kind.phrases:
        ends = [*(_before(start) for start in starts[1:]), format_number(maximum)]
        return [f"{format_number(start)} to {end}" for start, end in zip(starts, ends, strict=True)]
    if len(starts) == 1:
        return [kind.phrases[len(kind.phrases) // 2]]
    return [kind.phrases[round(i * (len(kind.phrases) - 1) / (len(starts) - 1))] for i in range(len(starts))]


def _before(start: float) -> str:
    return format_number(start - 1 if float(start).is_integer() else start)
