"""Rows of a label file, (path, label tokens, group, spread): headers, columns, and lists without a header."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from numclip_lightning.data.base.fields import IMAGE_END, find_delimiter, is_number, read_lines, split_fields
from numclip_lightning.errors import DataError, near_matches

__all__ = ["Record", "Row", "read_header", "read_records", "read_rows"]

# fmt: off
PATH_COLUMNS = frozenset({
    "path", "file", "filename", "file_name", "filepath", "file_path",
    "id_code", "image", "images", "image_file", "image_name", "image_path", "img", "img_path",
})
TARGET_COLUMNS = frozenset({
    "age", "count", "decade", "diagnosis", "grade", "label", "level", "rating", "score", "target", "value", "year",
})
# Standard deviation of the votes whose mean is the target.
SPREAD_COLUMNS = frozenset({"spread", "stdv"})
# fmt: on


class Row(NamedTuple):
    """One entry of a label file, its labels still as written."""

    line: int
    path: str
    tokens: tuple[str, ...]
    group: str | None
    spread: str | None = None


class Record(NamedTuple):
    """One line of a table with a header, its fields by column."""

    line: int
    fields: dict[str, str]


class _Columns(NamedTuple):
    """Number of columns, and the index of each kind of column."""

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
        DataError: If the file can't be read, is empty, or its columns can't be found.
    """
    lines = read_lines(source)
    number, first = lines[0]
    delimiter = find_delimiter(first, source.suffix.lower())
    names = split_fields(first, delimiter, f"{source}:{number}")
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
    """Return the column names of a table, or the fields of the first line of a list without a header.

    Raises:
        DataError: If the file can't be read or is empty.
    """
    number, first = read_lines(source)[0]
    return split_fields(first, find_delimiter(first, source.suffix.lower()), f"{source}:{number}")


def read_records(source: Path, columns: Sequence[str]) -> list[Record]:
    """Read a table whose entries need other columns than a path, a label and a group.

    Args:
        source: A table with a header, its fields separated by tabs or commas.
        columns: The required columns, in lower case. Fields are returned under names in lower case, others too.

    Raises:
        DataError: If the file can't be read, a column is missing or there twice, or a line has more or fewer fields
            than the header.
    """
    (_, first), *lines = read_lines(source)
    delimiter, names = find_delimiter(first, source.suffix.lower()), read_header(source)
    known = [name.lower() for name in names]
    for column in columns:
        if known.count(column) != 1:
            fault, fix = ("several columns", "keep one") if column in known else ("no column", "rename one to it")
            raise DataError(f"{source} has {fault} {column!r}; the columns are {_listed(names)}; {fix}")
    records = []
    for line, text in lines:
        fields = split_fields(text, delimiter, f"{source}:{line}")
        if len(fields) != len(names):
            raise DataError(f"{source}:{line}: the line has {len(fields)} fields, the header has {len(names)}")
        records.append(Record(line, dict(zip(known, fields, strict=True))))
    return records


def _is_header(fields: Sequence[str], asked: Collection[str | None], *, labelled: bool) -> bool:
    """Return whether the first line names columns: it has no number and no file name."""
    if any(is_number(field) or re.search(r"\.\w{2,5}$|[/\\]", field) for field in fields):
        return False
    known = any(field.lower() in PATH_COLUMNS or field in asked for field in fields)
    return known or (labelled and len(fields) > 1)


def _find_columns(source: Path, names: list[str], asked: dict[str, str | None], *, labelled: bool) -> _Columns:
    path = _find_column(source, names, "path_column", asked["path_column"], PATH_COLUMNS)
    if path is None:
        raise DataError(f"{source}: can't find the path column; the columns are {_listed(names)}; {_fix('path')}")
    target_name = asked["target_column"] if labelled or asked["target_column"] in names else None
    # If no labels are needed, a column that only looks like labels (a rating in words) is ignored.
    usual = TARGET_COLUMNS if labelled else frozenset[str]()
    target = _find_column(source, names, "target_column", target_name, usual, certain=labelled)
    if target is None and labelled:
        raise DataError(f"{source}: can't find the target column; the columns are {_listed(names)}; {_fix('target')}")
    group_name = asked["group_column"] if labelled or asked["group_column"] in names else None
    group = _find_column(source, names, "group_column", group_name, frozenset())
    known = SPREAD_COLUMNS if target is not None else frozenset[str]()
    spread = _find_column(source, names, "spread_column", None, known, certain=False)
    return _Columns(len(names), path, target, group, spread)


def _find_column(
    source: Path, names: list[str], argument: str, name: str | None, usual: frozenset[str], *, certain: bool = True
) -> int | None:
    """Return the index of the named column, or of the only one with a usual name; None if there is none."""
    if name is not None and name not in names:
        hint = near_matches(name, names)
        raise DataError(f"{source} has no column {argument}={name!r}{hint}; the columns are {_listed(names)}")
    found = [i for i, other in enumerate(names) if (other.lower() in usual if name is None else other == name)]
    if len(found) > 1 and certain:
        what = argument.removesuffix("_column")
        fix = _fix(what) if name is None else "rename one of them"
        raise DataError(f"{source}: {_listed([names[i] for i in found])} could each be the {what} column; {fix}")
    return found[0] if len(found) == 1 else None


def _fix(what: str) -> str:
    """Return what helps with every dataset: most datamodules have no argument for a column."""
    return f"rename it to {what!r}, or set {what}_column if the datamodule has it, as ListDataModule"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _row(line: int, text: str, delimiter: str | None, columns: _Columns, source: Path) -> Row:
    """Return the entry of a line under a header."""
    fields = split_fields(text, delimiter, f"{source}:{line}")
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
    """Split at whitespace, except inside the path."""
    words = list(re.finditer(r"\S+", text))
    joined = text[words[path].start() : words[path + spare].end()]
    fields = [word.group() for word in words]
    return [*fields[:path], joined, *fields[path + spare + 1 :]]


def _headless_row(line: int, text: str, delimiter: str | None, source: Path) -> Row:
    """Return the entry of a line without a header: [index] path [label ...]."""
    if delimiter is None:
        return _spaced_row(line, text)
    fields = split_fields(text, delimiter, f"{source}:{line}")
    path = next((i for i, field in enumerate(fields) if not is_number(field)), 0)
    return Row(line, fields[path], tuple(fields[path + 1 :]), None)


def _spaced_row(line: int, text: str) -> Row:
    """Return the entry of a line with spaces as separators; a path with spaces ends with the image's suffix."""
    words = list(re.finditer(r"\S+", text))
    ends = [i for i, word in enumerate(words) if re.search(IMAGE_END + "$", word.group())]
    if not ends:
        ends = [i for i, word in enumerate(words) if not is_number(word.group())] or [0]
    last = ends[-1]
    path = text[words[0].start() : words[last].end()]
    return Row(line, path, tuple(word.group() for word in words[last + 1 :]), None)
