"""Bins of whole numbers for the count of a block: single numbers first, then wider and wider ranges."""

import math
import re
from collections.abc import Sequence
from itertools import pairwise

from numclip_lightning.errors import refuse

__all__ = ["bin_centers", "bin_words", "check_bins", "count_bins"]

# Up to here each number is a bin; from here on each is wider than the one before by this share.
_SINGLES, _GROWTH = 8, 1.25


def count_bins(maximum: float) -> list[int]:
    """Return the first number of each bin, from 0 on: 0, 1, ..., 8, then 9, 11, 13, ... up to a maximum.

    Args:
        maximum: The largest count of a block.

    Example:
        >>> count_bins(3), count_bins(20)
        ([0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 20])
    """
    starts = list(range(min(_SINGLES, math.ceil(maximum)) + 1))
    following = _SINGLES + 1
    while following <= maximum:
        starts.append(following)
        following = max(following + 1, int(following * _GROWTH))
    return starts


def check_bins(bins: Sequence[int]) -> None:
    """Refuse bins that do not begin with 0, or do not increase.

    Raises:
        ConfigError: If so.
    """
    if len(bins) < 2 or bins[0] != 0 or any(one >= two for one, two in pairwise(bins)):
        refuse(f"bins is {list(bins)}; give the first number of each, increasing from 0, two at least.")


def bin_centers(bins: Sequence[int], maximum: float) -> list[float]:
    """Return the middle of each bin; the last one reaches up to a maximum.

    Example:
        >>> bin_centers([0, 1, 2, 5], 9)
        [0.0, 1.0, 3.0, 7.0]
    """
    ends = [*(start - 1 for start in bins[1:]), max(maximum, bins[-1])]
    return [(start + end) / 2 for start, end in zip(bins, ends, strict=True)]


def bin_words(bins: Sequence[int], maximum: float, unit: str, template: str = "{}") -> list[str]:
    """Return each bin in words: "0 things", "between 2 and 4 things"; the unit only if the template lacks it.

    Example:
        >>> bin_words([0, 1, 2], 4, "dots")
        ['0 dots', '1 dots', 'between 2 and 4 dots']
        >>> bin_words([0, 2], 4, "dots", "a photo of {} dots.")
        ['between 0 and 1', 'between 2 and 4']
    """
    ends = [*(start - 1 for start in bins[1:]), max(math.ceil(maximum), bins[-1])]
    said = re.search(rf"\b{re.escape(unit)}\b", template)
    behind = f" {unit}" if unit and not said else ""
    return [
        (str(start) if start == end else f"between {start} and {end}") + behind
        for start, end in zip(bins, ends, strict=True)
    ]
