"""Lines and fields of a label file: encoding, separators, quotes."""

import csv
import re
from pathlib import Path

from numclip_lightning.errors import DataError
from numclip_lightning.images.loading import IMAGE_SUFFIXES

__all__ = ["IMAGE_END", "NUMBER", "find_delimiter", "is_number", "read_lines", "split_fields"]

# `nan` and `inf` count as numbers, so that they are refused as labels and not taken as a part of the path.
NUMBER = r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:nan|inf|infinity))|\d+0s"
IMAGE_END = r"(?i:\.(?:" + "|".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES)) + "))"


def read_lines(source: Path) -> list[tuple[int, str]]:
    """Return the lines that aren't blank, numbered from 1.

    Raises:
        DataError: If the file can't be read, is empty or is not UTF-8 text.
    """
    try:
        text = source.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"label file {source} doesn't exist") from error
    except OSError as error:
        raise DataError(f"can't read label file {source}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not UTF-8 text (byte {error.start}); save the list as UTF-8") from error
    if "\0" in text:
        raise DataError(f"{source} is not a text file (it has zero bytes); save the list as UTF-8")
    # Not `splitlines`, which also breaks at characters that file names may contain.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    entries = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not entries:
        raise DataError(f"{source} is empty")
    return entries


def find_delimiter(line: str, suffix: str) -> str | None:
    """Return the separator of a line: tab before comma before whitespace (None), and `;` in a CSV without commas.

    A comma may be a part of a file name.

    Args:
        line: The first line of the file.
        suffix: The suffix of the file, in lower case.
    """
    if "\t" in line.strip():
        return "\t"
    if suffix == ".csv" and ";" in line and "," not in line:
        return ";"
    if "," not in line or re.search(IMAGE_END + r"\s+\S", line[: line.index(",")]):
        return None
    head, _, last = line.strip().rpartition(" ")
    spaced = head and re.fullmatch(NUMBER, last, re.ASCII) and not head.rstrip().endswith(",")
    return None if spaced and suffix != ".csv" else ","


def split_fields(line: str, delimiter: str | None, where: str) -> list[str]:
    """Split a line at its separator, without the spaces around fields; None splits at whitespace.

    Raises:
        DataError: If quotes are not closed; the message starts with `where`, the file and line.
    """
    if delimiter is None:
        return line.split()
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
    except csv.Error as error:
        raise DataError(f"{where}: can't split the line at {delimiter!r}: {error}") from error


def is_number(field: str) -> bool:
    """Return whether a field is a number as labels write it."""
    return re.fullmatch(NUMBER, field, re.ASCII) is not None
