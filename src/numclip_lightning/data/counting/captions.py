"""Captions of scenes: quantity words and attributes, never a digit, never a number word above two."""

import random

from numclip_lightning.data.counting.scenes import Facts

__all__ = ["QUANTITIES", "caption", "level_of", "phrases"]

QUANTITIES: tuple[tuple[int, tuple[str, ...]], ...] = (
    (1, ("a single", "one", "a lone")),
    (2, ("a couple of", "two", "a pair of")),
    (3, ("a few", "a handful of")),
    (5, ("several", "a number of")),
    (9, ("many", "lots of")),
    (17, ("a crowd of", "a host of")),
    (32, ("countless", "a sea of")),
)
"""Smallest count of each level and the words for it, the most common word first.

The levels are as even in the logarithm as whole numbers allow.
"""

_TEMPLATES = (
    "a picture of {}.", "a picture of {}", "a photo of {}.", "an image of {}.", "a drawing of {}.", "{}.", "{}",
    "there are {}.", "this is {}.", "it shows {}.", "you can see {}.", "here are {}.", "a scene with {}.",
    "a small picture with {}.", "an image showing {}.", "we see {} in this picture.", "this picture has {} in it.",
)  # fmt: skip
_NOUNS = {
    "circle": ("circle", "disc"), "square": ("square", "box"), "triangle": ("triangle",),
    "cross": ("cross", "plus sign"), "star": ("star",), None: ("thing", "object", "shape", "item"),
}  # fmt: skip
_GENERAL = ("thing", "thing", "object", "shape", "item")
_SIZES = ((12, ("tiny", "very small")), (22, ("small", "little")), (52, ("medium-sized",)), (999, ("large", "big")))
# Probability in percent of a caption with only the quantity; and of each attribute otherwise.
_PLAIN, _ATTRIBUTE = 75, 50


def level_of(count: int) -> int:
    """Return the level of a count, 0..6.

    Example:
        >>> [level_of(count) for count in (1, 2, 4, 60)]
        [0, 1, 2, 6]
    """
    return sum(count >= start for start, _ in QUANTITIES) - 1


def phrases() -> list[str]:
    """Return a phrase for each level, from "a single thing" to "countless things"."""
    return [f"{words[0]} {'thing' if start == 1 else 'things'}" for start, words in QUANTITIES]


def caption(facts: Facts, rng: random.Random) -> str:
    """Write a caption.

    Args:
        facts: The facts of the scene.
        rng: Chooses the template, the words and the attributes.
    """
    level = level_of(facts.count)
    words = QUANTITIES[level][1]
    quantity = words[0] if _percent(rng, 60) else rng.choice(words)
    plain = _percent(rng, _PLAIN)
    said = [quantity]
    noun = rng.choice(_GENERAL)
    behind = ""
    if not plain:
        if _percent(rng, _ATTRIBUTE // 2):
            said.append(_size_word(facts.side, rng))
        if facts.colour and _percent(rng, _ATTRIBUTE):
            said.append(facts.colour)
        if _percent(rng, _ATTRIBUTE):
            noun = rng.choice(_NOUNS[facts.shape])
        behind = _surroundings(facts, rng)
    return rng.choice(_TEMPLATES).format(" ".join([*said, noun if level == 0 else _plural(noun)]) + behind)


def _surroundings(facts: Facts, rng: random.Random) -> str:
    parts = []
    if facts.colour is None and _percent(rng, _ATTRIBUTE):
        parts.append(rng.choice((" of many colours", " in different colours", " of mixed colours")))
    if _percent(rng, _ATTRIBUTE):
        parts.append(rng.choice((" on a {} background", " on {}", " in front of a {} wall")).format(facts.background))
    if facts.strokes > 3 and _percent(rng, _ATTRIBUTE // 2):
        parts.append(rng.choice((" among scratches", " with scratches", " and some lines")))
    return "".join(parts)


def _size_word(side: int, rng: random.Random) -> str:
    return rng.choice(next(words for most, words in _SIZES if side < most))


def _plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x")) else "s")


def _percent(rng: random.Random, percent: int) -> bool:
    return rng.randrange(100) < percent
