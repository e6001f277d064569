"""The numbers of a label file: targets, the spread of their votes, and propensities."""

import math
import re

from numclip_lightning.data.base.numerals import is_number, is_unknown, number_or_nan, with_point
from numclip_lightning.errors import DataError, shown

__all__ = ["parse_propensity", "parse_spread", "parse_target", "parse_weight"]

# `1,200,000` and `1.200.000,50`, with whatever separates the thousands.
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:[,.'\u2019\u00a0\u202f]\d{3})+(?:[.,]\d+)?", re.ASCII)

# `2024-05-01`, `1/5/2024` and `01.05.2024`, with or without a time.
_DATE = re.compile(r"(?:\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2(?:\d{4}|\d\d))(?!\d)", re.ASCII)


def parse_target(token: str, where: str) -> float:
    """Read one label: `3`, `3.0`, `-1e-2` or a decade such as `1930s`.

    Args:
        token: The label as in the file.
        where: File and line, for the message.

    Returns:
        The number, never shifted or rounded.

    Raises:
        DataError: If the token is not a finite number.

    Example:
        >>> parse_target("1930s", "list.txt:1")
        1930.0
    """
    if not is_number(token):
        raise DataError(
            f"{where}: label '{shown(token)}' is not a number; expected a label such as 31, 3.0 or 1930s"
            f"{_advice(token)}"
        )
    value = float(token.removesuffix("s"))
    if not math.isfinite(value):
        raise DataError(f"{where}: label '{shown(token)}' is not finite; expected a label such as 31, 3.0 or 1930s")
    return value


def _advice(token: str) -> str:
    """Return what to do with a label that is no number, as far as it can be told."""
    if is_unknown(token):
        return "; it is unknown: remove the line, or label it"
    if re.fullmatch(r"[+-]?\d+,\d+", token):
        return "; write a decimal comma as a point, and thousands without a comma"
    if _DATE.match(token):
        return "; it looks like a date: write the number that is meant, such as the year"
    if _GROUPED.fullmatch(token):
        return "; write thousands without separators, such as 1200000"
    if any(letter.isdigit() for letter in token):
        return "; write the number alone, without units and signs"
    return "; if words name ordered grades, write a number for each"


def parse_spread(token: str, where: str) -> float | None:
    """Read the standard deviation of a target's votes.

    Args:
        token: The number as written; a blank or `NA` if it is unknown, as of a single vote.
        where: File and line, for the message.

    Returns:
        The number; None if it is unknown.

    Raises:
        DataError: If the token is no finite number of 0 or more.
    """
    if is_unknown(token):
        return None
    spread = number_or_nan(token)
    if not (math.isfinite(spread) and spread >= 0):
        raise DataError(
            f"{where}: spread '{shown(token)}' is not a standard deviation; expected a number of 0 or more such as "
            "4.03, or a blank if it is unknown; to leave the column out, rename it, or, with ListDataModule, set "
            "data.spread_column=none"
        )
    return spread


def parse_weight(token: str, where: str) -> float:
    """Read how much an image counts in training.

    Args:
        token: The number as written.
        where: File and line, for the message.

    Raises:
        DataError: If it is no finite number above 0.
    """
    weight = number_or_nan(with_point(token))
    if not (math.isfinite(weight) and weight > 0):
        raise DataError(
            f"{where}: weight '{shown(token)}' is not a number above 0; leave an image that counts for nothing out of "
            "the list"
        )
    return weight


def parse_propensity(token: str, where: str) -> float:
    """Read the probability of an image to be labelled.

    Args:
        token: The number as written.
        where: File and line, for the message.

    Raises:
        DataError: If it is no number over 0 and up to 1.
    """
    propensity = number_or_nan(token)
    if not 0 < propensity <= 1:
        raise DataError(
            f"{where}: propensity '{shown(token)}' is not a probability; expected a number over 0 and up to 1"
        )
    return propensity
