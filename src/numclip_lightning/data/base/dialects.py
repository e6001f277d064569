"""From the text of a label file to rows of (path, label tokens, group, spread): separators, headers and columns."""

import csv
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from numclip_lightning.errors import DataError, near_matches
from numclip_lightning.images.loading import IMAGE_SUFFIXES

__all__ = ["NUMBER", "Record", "Row", "read_header", "read_records", "read_rows"]

# fmt: off
PATH_COLUMNS = frozenset({
    "path", "file", "filename", "file_name", "filepath", "file_path",
    "id_code", "image", "images", "image_file", "image_name", "image_path", "img", "img_path",
})
TARGET_COLUMNS = frozenset({
    "age", "count", "decade", "diagnosis", "grade", "label", "level", "rating", "score", "target", "value", "year",
})
# The standard deviation of the votes that a target is the mean of.
SPREAD_COLUMNS = frozenset({"spread", "stdv"})
# fmt: on

# `nan` and `inf` count as numbers here, so that they are refused as labels and not taken for a part of the path.
NUMBER = r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:nan|inf|infinity))|\d+0s"
_IMAGE_END = r"(?i:\.(?:" + "|".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES)) + "))"


class Row(NamedTuple):
    """One entry of a label file, its labels still as written."""

    line: int
    path: str
    tokens: tuple[str, ...]
    group: str | None
    spread: str | None = None


class Record(NamedTuple):
    """One line of a table whose header names its columns."""

    line: int
    fields: dict[str, str]


class _Columns(NamedTuple):
    """Where a header puts things."""

    total: int
    path: int
    target: int | None
    group: int | None
    spread: int | None


def read_rows(
    source: Path, path_column: str | None, target_column: str | None, group_column: str | None, *, labelled: bool
) -> list[Row]:
    """Read the entries of a label file; see `labels.read_labels` for the arguments.

    Raises:
        DataError: If the file can't be read, is empty, or its columns can't be told.
    """
    lines = _read_lines(source)
    number, first = lines[0]
    delimiter = _delimiter(first, source.suffix.lower())
    names = _split(first, delimiter, f"{source}:{number}")
    asked = {"path_column": path_column, "target_column": target_column, "group_column": group_column}
    if not _is_header(names, asked.values(), labelled=labelled):
        for argument, name in asked.items():
            if name is not None and (labelled or argument == "path_column"):
                raise DataError(
                    f"{source} has no header line, so {argument}={name!r} can't be found; add a header line"
                )
        return [_headless_row(line, text, delimiter, source) for line, text in lines]
    columns = _find_columns(source, names, asked, labelled=labelled)
    if len(lines) == 1:
        raise DataError(f"{source} has a header but no entries")
    return [_row(line, text, delimiter, columns, source) for line, text in lines[1:]]


def read_header(source: Path) -> list[str]:
    """The column names of a table, or the fields of the first line of a list without a header.

    Raises:
        DataError: If the file can't be read or is empty.
    """
    number, first = _read_lines(source)[0]
    return _split(first, _delimiter(first, source.suffix.lower()), f"{source}:{number}")


def read_records(source: Path, columns: Sequence[str]) -> list[Record]:
    """Read a table in which an entry takes more columns than a path, a label and a group.

    Args:
        source: A table with a header, its fields separated by tabs or commas.
        columns: The columns that are needed, in lower case, as which they are returned; others are kept too.

    Raises:
        DataError: If the file can't be read, a column is missing or there twice, or a line is longer or shorter.
    """
    (_, first), *lines = _read_lines(source)
    delimiter, names = _delimiter(first, source.suffix.lower()), read_header(source)
    known = [name.lower() for name in names]
    for column in columns:
        if known.count(column) != 1:
            fault, mend = ("several columns", "keep one") if column in known else ("no column", "rename one to it")
            raise DataError(f"{source} has {fault} {column!r}; the columns are {_listed(names)}; {mend}")
    records = []
    for line, text in lines:
        fields = _split(text, delimiter, f"{source}:{line}")
        if len(fields) != len(names):
            raise DataError(f"{source}:{line}: the line has {len(fields)} fields, the header has {len(names)}")
        records.append(Record(line, dict(zip(known, fields, strict=True))))
    return records


def _read_lines(source: Path) -> list[tuple[int, str]]:
    """The lines that aren't blank, numbered from 1."""
    try:
        text = source.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"label file {source} doesn't exist") from error
    except OSError as error:
        raise DataError(f"can't read label file {source}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not UTF-8 text (byte {error.start}); save the list as UTF-8") from error
    if "\0" in text:
        raise DataError(f"{source} is not a text file (it holds zero bytes); save the list as UTF-8")
    # Not `splitlines`, which also breaks at characters that a file name may hold.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    entries = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not entries:
        raise DataError(f"{source} is empty")
    return entries


def _delimiter(line: str, suffix: str) -> str | None:
    """Tab before comma before whitespace (None), and `;` in a CSV without commas; a comma may be a part of a name."""
    if "\t" in line.strip():
        return "\t"
    if suffix == ".csv" and ";" in line and "," not in line:
        return ";"
    if "," not in line or re.search(_IMAGE_END + r"\s+\S", line[: line.index(",")]):
        return None
    head, _, last = line.strip().rpartition(" ")
    spaced = head and re.fullmatch(NUMBER, last, re.ASCII) and not head.rstrip().endswith(",")
    return None if spaced and suffix != ".csv" else ","


def _split(line: str, delimiter: str | None, where: str) -> list[str]:
    if delimiter is None:
        return line.split()
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
    except csv.Error as error:
        raise DataError(f"{where}: can't split the line at {delimiter!r}: {error}") from error


def _is_number(field: str) -> bool:
    return re.fullmatch(NUMBER, field, re.ASCII) is not None


def _is_header(fields: Sequence[str], asked: Collection[str | None], *, labelled: bool) -> bool:
    """Whether the first line names columns: it holds no number and no file name."""
    if any(_is_number(field) or re.search(r"\.\w{2,5}$|[/\\]", field) for field in fields):
        return False
    known = any(field.lower() in PATH_COLUMNS or field in asked for field in fields)
    return known or (labelled and len(fields) > 1)


def _find_columns(source: Path, names: list[str], asked: dict[str, str | None], *, labelled: bool) -> _Columns:
    path = _find_column(source, names, "path_column", asked["path_column"], PATH_COLUMNS)
    if path is None:
        raise DataError(f"{source}: can't tell the path column; the columns are {_listed(names)}; {_mend('path')}")
    target_name = asked["target_column"] if labelled or asked["target_column"] in names else None
    # Where labels aren't asked for, a column that only looks like one (a rating in words) is none.
    usual = TARGET_COLUMNS if labelled else frozenset[str]()
    target = _find_column(source, names, "target_column", target_name, usual, certain=labelled)
    if target is None and labelled:
        raise DataError(f"{source}: can't tell the target column; the columns are {_listed(names)}; {_mend('target')}")
    group_name = asked["group_column"] if labelled or asked["group_column"] in names else None
    group = _find_column(source, names, "group_column", group_name, frozenset())
    known = SPREAD_COLUMNS if target is not None else frozenset[str]()
    spread = _find_column(source, names, "spread_column", None, known, certain=False)
    return _Columns(len(names), path, target, group, spread)


def _find_column(
    source: Path, names: list[str], argument: str, name: str | None, usual: frozenset[str], *, certain: bool = True
) -> int | None:
    """Index of the named column, or of the only one with a usual name; None if there is none."""
    if name is not None and name not in names:
        hint = near_matches(name, names)
        raise DataError(f"{source} has no column {argument}={name!r}{hint}; the columns are {_listed(names)}")
    found = [i for i, other in enumerate(names) if (other.lower() in usual if name is None else other == name)]
    if len(found) > 1 and certain:
        what = argument.removesuffix("_column")
        mend = _mend(what) if name is None else "rename one of them"
        raise DataError(f"{source}: {_listed([names[i] for i in found])} could each be the {what} column; {mend}")
    return found[0] if len(found) == 1 else None


def _mend(what: str) -> str:
    """What works for all data: most datamodules have no argument for a column."""
    return f"rename it to {what!r}, or set {what}_column where there is one, as in ListDataModule"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _row(line: int, text: str, delimiter: str | None, columns: _Columns, source: Path) -> Row:
    """A line under a header."""
    fields = _split(text, delimiter, f"{source}:{line}")
    spare = len(fields) - columns.total
    if delimiter is None and spare > 0:
        fields = _join_spaced_path(text, columns.path, spare)
    elif spare:
        raise DataError(f"{source}:{line}: the line has {len(fields)} fields, the header has {columns.total}")
    tokens = () if columns.target is None else tuple(fields[columns.target].split()) or ("",)
    group = None if columns.group is None else fields[columns.group] or None
    spread = None if columns.spread is None else fields[columns.spread]
    return Row(line, fields[columns.path], tokens, group, spread)


def _join_spaced_path(text: str, path: int, spare: int) -> list[str]:
    """Split at whitespace, leaving the spaces inside the path."""
    words = list(re.finditer(r"\S+", text))
    joined = text[words[path].start() : words[path + spare].end()]
    fields = [word.group() for word in words]
    return [*fields[:path], joined, *fields[path + spare + 1 :]]


def _headless_row(line: int, text: str, delimiter: str | None, source: Path) -> Row:
    """A line of a list without a header: [index] path [label ...]."""
    if delimiter is None:
        return _spaced_row(line, text)
    fields = _split(text, delimiter, f"{source}:{line}")
    path = next((i for i, field in enumerate(fields) if not _is_number(field)), 0)
    return Row(line, fields[path], tuple(fields[path + 1 :]), None)


def _spaced_row(line: int, text: str) -> Row:
    """Path and labels separated by spaces; a path that holds spaces ends where the image's suffix does."""
    words = list(re.finditer(r"\S+", text))
    ends = [i for i, word in enumerate(words) if re.search(_IMAGE_END + "$", word.group())]
    if not ends:
        ends = [i for i, word in enumerate(words) if not _is_number(word.group())] or [0]
    last = ends[-1]
    path = text[words[0].start() : words[last].end()]
    return Row(line, path, tuple(word.group() for word in words[last + 1 :]), None)
