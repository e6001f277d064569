"""How lists write numbers: digits and decades, decimal points and commas, and what stands for an unknown one."""

import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["has_decimal_commas", "is_comma_number", "is_number", "is_unknown", "number_or_nan", "with_point"]

_log = logging.getLogger(__name__)

# `nan` and `inf` count as numbers here, so that they are refused as labels and not taken for a part of the path.
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:nan|inf|infinity))|\d+0s", re.ASCII)
# How programs write that something is unknown.
_UNKNOWN = ("", "na", "n/a", "<na>", "nan", "null", "none")
_COMMA = re.compile(r"([+-]?\d+),(\d+)", re.ASCII)
# What may be thousands: `950,000`, but not `0,125` nor `3,5`.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}", re.ASCII)


def is_number(field: str) -> bool:
    """Return whether a field is a number (`3`, `-1e-2`, `nan`) or a decade (`1930s`)."""
    return _NUMBER.fullmatch(field) is not None


def is_unknown(field: str) -> bool:
    """Return whether a field is a blank, or what pandas, R or a database writes for a value that is unknown."""
    return field.lower() in _UNKNOWN


def number_or_nan(field: str) -> float:
    """Return the number that a field holds; NaN if it holds none, which whoever asks refuses in words of its own."""
    try:
        return float(field)
    except ValueError:
        return math.nan


def is_comma_number(field: str) -> bool:
    """Return whether a field is a number with one comma in it, whatever that means."""
    return _COMMA.fullmatch(field) is not None


def has_decimal_commas(fields: Sequence[str], delimiter: str | None, source: Path) -> bool:
    """Return whether commas in a list's numbers are decimal points.

    Between semicolons they are, since semicolons are what Excel and R write where the comma is decimal. Between tabs,
    vertical bars, or commas around quoted numbers they are if no number has a point, and some could not be a thousand:
    `3,5`, but not `950,000`. Between blanks they are not, where `3,5` may be two labels. Where all numbers between
    semicolons could be thousands, a warning is logged.

    Args:
        fields: The numbers of the list, as written.
        delimiter: What separates its fields.
        source: The list, for the message.
    """
    commas = [field for field in fields if is_comma_number(field)]
    if delimiter is None:
        return False
    if delimiter != ";":
        return bool(commas) and not all(map(_THOUSANDS.fullmatch, commas)) and not any("." in field for field in fields)
    if fields and all(map(_THOUSANDS.fullmatch, fields)):
        _log.warning(
            "%s: every number is like %s and is read as %s; if these are thousands, write %s",
            source, fields[0], fields[0].replace(",", "."), re.sub("[.,]", "", fields[0]),
        )  # fmt: skip
    return True


def with_point(field: str) -> str:
    """Write a decimal comma as a point: `3,5` as `3.5`; other fields stay as they are."""
    return _COMMA.sub(r"\1.\2", field) if is_comma_number(field) else field
