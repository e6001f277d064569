"""From the lines of a list file to rows of (path, label tokens, group, spread, propensity): headers and columns."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from numclip_lightning.data.base.columns import AskedColumns, Columns, find_columns, listed, names_images
from numclip_lightning.data.base.lines import Line, Table
from numclip_lightning.data.base.numerals import has_decimal_commas, is_comma_number, is_number, is_unknown, with_point
from numclip_lightning.data.base.tables import IMAGE_END, read_table
from numclip_lightning.errors import DataError

__all__ = ["Record", "Row", "has_header", "read_header", "read_records", "read_rows"]

_log = logging.getLogger(__name__)


class Row(NamedTuple):
    """One entry of a label file, its labels still as written."""

    line: int
    path: str
    tokens: tuple[str, ...]
    group: str | None
    spread: str | None = None
    propensity: str | None = None
    attributes: tuple[tuple[str, str], ...] = ()


class Record(NamedTuple):
    """One line of a table with a header, its fields by column."""

    line: int
    fields: dict[str, str]


def read_rows(source: Path, asked: AskedColumns, *, labelled: bool) -> list[Row]:
    """Read the entries of a label file; see `labels.read_labels` for the arguments.

    Raises:
        DataError: If the file can't be read, is empty, or its columns can't be found.
    """
    table = read_table(source)
    if not has_header(table, asked, labelled=labelled):
        for what in ("path", "target", "group", "propensity"):
            if (name := asked.needed(what, (), labelled=labelled or what == "path")) is not None:
                raise DataError(
                    f"{source} has no header line, so {what}_column={name!r} can't be found; add a header line"
                )
        if asked.attributes and labelled and "attributes" not in asked.optional:
            raise DataError(
                f"{source} has no header line, so the attributes {listed(asked.attributes)} can't be found; add a "
                "header line"
            )
        return _with_points([_headless_row(line, table) for line in table.lines], table, source)
    if len(table.lines) == 1:
        raise DataError(f"{source} has a header but no entries")
    table = _name_row_names(_without_headers(table, source))
    columns = find_columns(source, table, asked, labelled=labelled)
    return _with_points([_row(line, table, columns, source) for line in table.lines[1:]], table, source)


def read_header(source: Path) -> list[str]:
    """Return the column names of a table, or the fields of the first line of a list without a header.

    Raises:
        DataError: If the file can't be read or is empty.
    """
    return read_table(source).lines[0].fields


def read_records(source: Path, columns: Sequence[str]) -> list[Record]:
    """Read a table whose entries need other columns than a path, a label and a group.

    Args:
        source: A table with a header, its fields separated by tabs or commas.
        columns: The required columns, in lower case. Fields are returned under names in lower case, others too.

    Raises:
        DataError: If the file can't be read, a column is missing or there twice, or a line has more or fewer fields
            than the header.
    """
    header, *lines = read_table(source).lines
    known = [name.lower() for name in header.fields]
    for column in columns:
        if known.count(column) != 1:
            fault, fix = ("several columns", "keep one") if column in known else ("no column", "rename one to it")
            raise DataError(f"{source} has {fault} {column!r}; the columns are {listed(header.fields)}; {fix}")
    records = []
    for line in lines:
        _require_fields(line, len(known), source)
        records.append(Record(line.number, dict(zip(known, line.fields, strict=True))))
    return records


def _is_numeric(field: str) -> bool:
    return is_number(field) or is_comma_number(field)


def _with_points(rows: list[Row], table: Table, source: Path) -> list[Row]:
    """Write decimal commas as points, if the list has them."""
    fields = [field for row in rows for field in (*row.tokens, row.spread, row.propensity) if field]
    if not has_decimal_commas(fields, table.delimiter, source):
        return rows
    return [
        row._replace(
            tokens=tuple(map(with_point, row.tokens)),
            spread=row.spread and with_point(row.spread),
            propensity=row.propensity and with_point(row.propensity),
        )
        for row in rows
    ]


def has_header(table: Table, asked: AskedColumns, *, labelled: bool) -> bool:
    """Whether the first line names columns: it has no number and no image, where the second has one."""
    if table.has_header:
        return True
    names = table.lines[0].fields
    if any(re.search(IMAGE_END + "$", name) for name in names):
        return False
    given = (asked.path, asked.target, asked.group)
    known = any(names_images(name) or name in given for name in names)
    if any(map(_is_numeric, names)):
        return known and len(names) > 2
    following = table.lines[1].fields if len(table.lines) > 1 else []
    # An entry in folders with an odd suffix, or without one, may look like a name: its label is a number.
    paths = any(re.search(r"\.\w{2,5}$|[/\\]", name) for name in names) and not any(map(_is_numeric, following))
    return known or (labelled and len(names) > 1 and not paths)


def _without_headers(table: Table, source: Path) -> Table:
    """Leave out lines that are the header again, as in lists that were joined from several."""
    header, *lines = table.lines
    kept = [line for line in lines if line.fields != header.fields]
    if not kept:
        raise DataError(f"{source} has a header but no entries")
    if len(kept) < len(lines):
        number = next(line.number for line in lines if line.fields == header.fields)
        _log.warning(
            "%s: %d lines repeat the header and are left out, first line %d", source, len(lines) - len(kept), number
        )
    return table._replace(lines=[header, *kept])


def _name_row_names(table: Table) -> Table:
    """Name the first column where the header leaves it out, as R's `write.table` does, and drop empty last fields."""
    header, *lines = table.lines
    total = len(header.fields)
    spare = {len(line.fields) - total for line in lines}
    numbers = [line.fields[0] for line in lines] == [str(number) for number in range(1, len(lines) + 1)]
    quoted = all(line.text.lstrip().startswith('"') for line in lines)
    if spare == {1} and (numbers or quoted):
        return table._replace(lines=[header._replace(fields=["", *header.fields]), *lines])
    trimmed = [line._replace(fields=line.fields[:total]) if not any(line.fields[total:]) else line for line in lines]
    return table._replace(lines=[header, *trimmed])


def _require_fields(line: Line, total: int, source: Path) -> None:
    if len(line.fields) != total:
        quotes = "; look for a quotation mark that isn't closed" if "\n" in line.text else ""
        raise DataError(
            f"{source}:{line.number}: the line has {len(line.fields)} fields, the header has {total}{quotes}"
        )


def _row(line: Line, table: Table, columns: Columns, source: Path) -> Row:
    """A line under a header."""
    fields, spare = line.fields, len(line.fields) - columns.total
    if table.delimiter is None and spare > 0 and '"' not in line.text:
        fields = _join_spaced_path(line.text, columns.path, spare)
    elif spare:
        _require_fields(line, columns.total, source)
    tokens = () if columns.target is None else tuple(fields[columns.target].split()) or ("",)
    group = None if columns.group is None or is_unknown(fields[columns.group]) else fields[columns.group]
    spread = None if columns.spread is None else fields[columns.spread]
    propensity = None if columns.propensity is None else fields[columns.propensity]
    attributes = tuple((name, fields[place].strip()) for name, place in columns.attributes)
    return Row(line.number, fields[columns.path], tokens, group, spread, propensity, attributes)


def _join_spaced_path(text: str, path: int, spare: int) -> list[str]:
    """Split at whitespace, except inside the path."""
    words = list(re.finditer(r"\S+", text))
    joined = text[words[path].start() : words[path + spare].end()]
    fields = [word.group() for word in words]
    return [*fields[:path], joined, *fields[path + spare + 1 :]]


def _headless_row(line: Line, table: Table) -> Row:
    """A line of a list without a header: [index] path [label ...]."""
    if table.delimiter is None and '"' not in line.text:
        return _spaced_row(line.number, line.text)
    path = next((i for i, field in enumerate(line.fields) if not _is_numeric(field)), 0)
    return Row(line.number, line.fields[path], tuple(line.fields[path + 1 :]), None)


def _spaced_row(line: int, text: str) -> Row:
    """Return the entry of a line with spaces as separators; a path with spaces ends with the image's suffix."""
    words = list(re.finditer(r"\S+", text))
    ends = [i for i, word in enumerate(words) if re.search(IMAGE_END + "$", word.group())]
    if not ends:
        ends = [i for i, word in enumerate(words) if not _is_numeric(word.group())] or [0]
    last = ends[-1]
    path = text[words[0].start() : words[last].end()]
    return Row(line, path, tuple(word.group() for word in words[last + 1 :]), None)
