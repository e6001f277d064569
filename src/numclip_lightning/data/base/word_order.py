"""Putting words for grades in order, as far as their meaning is known."""

import re
from collections.abc import Sequence

__all__ = ["order_words"]

# Each family from the least to the most; words that mean the same share a place.
_FAMILIES: tuple[tuple[tuple[str, ...], ...], ...] = (
    (
        ("no", "none", "normal", "healthy", "negative", "absent"), ("doubtful", "minimal", "trace"),
        ("mild", "slight", "light", "weak"), ("moderate", "medium"), ("severe", "strong", "heavy", "marked"),
        ("proliferative", "critical", "extreme"),
    ),
    (("tiny",), ("small", "little"), ("medium", "middle"), ("large", "big"), ("huge", "giant")),
    (("lowest",), ("low",), ("medium", "middle", "mid"), ("high",), ("highest",)),
    (
        ("terrible", "awful", "worst", "unacceptable"), ("bad",), ("poor",),
        ("fair", "average", "ok", "okay", "flawed"), ("good", "ordinary"), ("great", "professional"),
        ("excellent", "exceptional", "best", "perfect"),
    ),
    (
        ("baby", "infant", "newborn"), ("toddler",), ("child", "kid", "children"), ("teen", "teenager", "adolescent"),
        ("young",), ("adult", "middle"), ("old", "senior", "elderly", "older"),
    ),
    (
        ("unripe", "green", "raw"), ("turning", "breaker", "half"), ("ripe",), ("overripe",),
        ("rotten", "spoiled", "stale"),
    ),
    (
        ("zero",), ("one",), ("two",), ("three",), ("four",), ("five",), ("six",), ("seven",), ("eight",), ("nine",),
        ("ten",),
    ),
    (("first",), ("second",), ("third",), ("fourth",), ("fifth",)),
    (("i",), ("ii",), ("iii",), ("iv",), ("v",)),
)  # fmt: skip


def order_words(names: Sequence[str]) -> tuple[list[str], bool]:
    """Put names of grades in order.

    Args:
        names: Such as `severe damage`, `no_damage`, `mild`, or with numbers in them (`10-19 years`); each once.

    Returns:
        The names in order, and whether the order is known; otherwise it is that of the alphabet.

    Example:
        >>> order_words(["severe damage", "no_damage", "mild"])
        (['no_damage', 'mild', 'severe damage'], True)
        >>> order_words(["10-19 years", "5-9 years"])
        (['5-9 years', '10-19 years'], True)
        >>> order_words(["cat", "apple"])
        (['apple', 'cat'], False)
    """
    numbers = [tuple(map(int, re.findall(r"\d+", name))) for name in names]
    if all(numbers) and len(set(numbers)) == len(names):
        return [name for _, name in sorted(zip(numbers, names, strict=True))], True
    for family in _FAMILIES:
        places = [_place(name, family) for name in names]
        if None not in places and len(set(places)) == len(names):
            return [name for _, name in sorted(zip(places, names, strict=True))], True
    return sorted(names), False


def _place(name: str, family: tuple[tuple[str, ...], ...]) -> int | None:
    """Return where a name stands in a family; None if it has none of its words, or several."""
    words = set(re.findall(r"[a-z]+", name.lower()))
    found = [place for place, meanings in enumerate(family) if words & set(meanings)]
    return found[0] if len(found) == 1 else None
