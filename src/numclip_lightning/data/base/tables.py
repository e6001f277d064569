"""From a list file to its lines, split into fields: separators, quotes, JSON lines, and files that are no text."""

import codecs
import csv
import io
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from numclip_lightning.errors import DataError
from numclip_lightning.images.folders import IMAGE_SUFFIXES

__all__ = ["IMAGE_END", "Line", "Table", "read_table"]

IMAGE_END = r"(?i:\.(?:" + "|".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES)) + "))"
_NUMBER_END = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:nan|inf|infinity)|\d+0s", re.ASCII)
_EXCEL_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
# What programs write that is no text, by suffix or by first bytes, and what to do.
_EXCEL = "is an Excel or LibreOffice workbook, not a text file; save the sheet as CSV (UTF-8)"
_SUFFIXES = {".xlsx": _EXCEL, ".xls": _EXCEL, ".ods": _EXCEL, ".xlsm": _EXCEL}
_MAGIC = {
    b"PK\x03\x04": "is a ZIP archive or an Excel workbook, not a text file; save the list as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": _EXCEL,
    b"PAR1": "is a Parquet file, not a text file; save the list as CSV (UTF-8)",
}


class Line(NamedTuple):
    """One line of a list that isn't blank; a quoted line break makes several lines of the file one."""

    number: int
    text: str
    fields: list[str]


class Table(NamedTuple):
    """A list, split.

    Attributes:
        lines: Its lines, at least one.
        delimiter: What separates fields; None for any whitespace.
        has_header: Whether the first line surely names the columns, as JSON does.
    """

    lines: list[Line]
    delimiter: str | None
    has_header: bool = False


def read_table(source: Path) -> Table:
    """Read a list of any dialect.

    Fields are separated by tabs, commas, semicolons, vertical bars or whitespace, as the first line tells; Excel's
    first line `sep=;` is obeyed. A file `.jsonl` (or `.json`, a list of objects) has an object for each entry.

    Raises:
        DataError: If the file can't be read, is empty, or is no text.
    """
    text = _read_text(source)
    if source.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        return _read_json(source, text)
    # Not `splitlines`, which also breaks at characters that a file name may hold.
    rows = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start = next((number for number, row in enumerate(rows) if row.strip()), None)
    if start is None:
        raise DataError(f"{source} is empty")
    if named := _EXCEL_SEPARATOR.fullmatch(rows[start].strip()):
        delimiter: str | None = named[1]
        start += 1
    else:
        delimiter = _find_delimiter(rows[start], source.suffix.lower())
    if delimiter is None:
        lines = [Line(number, row, _split_words(row)) for number, row in enumerate(rows, 1) if row.strip()]
    else:
        lines = _split_quoted(rows, start, delimiter, source)
    if not lines:
        raise DataError(f"{source} is empty")
    return Table(lines, delimiter)


def _read_text(source: Path) -> str:
    try:
        content = source.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"label file {source} doesn't exist") from error
    except OSError as error:
        raise DataError(f"can't read label file {source}: {error.strerror}") from error
    reason = _SUFFIXES.get(source.suffix.lower())
    if reason := next((text for magic, text in _MAGIC.items() if content.startswith(magic)), reason):
        raise DataError(f"{source} {reason}")
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        # Excel's "Unicode text" is UTF-16.
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not UTF-8 text (byte {error.start}); save the list as UTF-8") from error
    if "\0" in text:
        raise DataError(f"{source} is not a text file (it holds zero bytes); save the list as UTF-8")
    return text


def _find_delimiter(line: str, suffix: str) -> str | None:
    """Tab, then `;` and `|`, then comma, before whitespace (None); any but a tab may be a part of a file name."""
    line = line.strip()
    if "\t" in line:
        return "\t"
    for mark in (";", "|"):
        if mark in line and _separates(mark, line):
            return mark
    if "," not in line or re.search(IMAGE_END + r"\s+\S", line[: line.index(",")]):
        return None
    head, _, last = line.rpartition(" ")
    spaced = head and _NUMBER_END.fullmatch(last) and not head.rstrip().endswith(",")
    return None if spaced and suffix != ".csv" else ","


def _separates(mark: str, line: str) -> bool:
    """Return whether a mark is after a file name, or in a line without any file name and without commas."""
    if re.search(IMAGE_END + r'"?\s*' + re.escape(mark), line):
        return True
    if re.search(IMAGE_END + r'("?\s*,|\s+\S)', line):
        return False
    return "," not in line or line.count(mark) > line.count(",")


def _split_words(row: str) -> list[str]:
    """Split at whitespace; R quotes its words."""
    if row.lstrip().startswith('"') and row.count('"') % 2 == 0:
        return [field for field in next(csv.reader([row.strip()], delimiter=" ", skipinitialspace=True)) if field]
    return row.split()


def _split_quoted(rows: list[str], start: int, delimiter: str, source: Path) -> list[Line]:
    text = io.StringIO("\n".join(rows[start:]), newline="")
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=delimiter != "\t")
    lines, number = [], start + 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                plain = "\n".join(rows[number - 1 : start + reader.line_num])
                lines.append(Line(number, plain, [field.strip() for field in fields]))
            number = start + reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{source}:{number}: can't split the line at {delimiter!r}: {error}") from error
    return lines


def _read_json(source: Path, text: str) -> Table:
    """Objects with equal keys; numbers keep the digits that they are written with."""
    read = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str).decode
    entries: list[tuple[int, Any]] = []
    number = 1
    try:
        if source.suffix.lower() == ".json":
            whole = read(text.strip())
            entries = list(enumerate(whole, 1)) if isinstance(whole, list) else [(1, None)]
        else:
            for number, row in enumerate(text.split("\n"), 1):
                if row.strip():
                    entries.append((number, read(row.strip())))
    except json.JSONDecodeError as error:
        raise DataError(f"{source}:{number}: this is no JSON: {error.msg} (character {error.pos + 1})") from error
    if not entries:
        raise DataError(f"{source} is empty")
    keys: dict[str, None] = {}
    for number, entry in entries:
        if not isinstance(entry, dict):
            example = '{"path": "a.png", "target": 3.5}'
            raise DataError(f"{source}:{number}: expected a JSON object for each entry, such as {example}")
        keys.update(dict.fromkeys(entry))
    lines = [Line(number, "", [_json_field(entry.get(key)) for key in keys]) for number, entry in entries]
    return Table([Line(0, "", list(keys)), *lines], ",", has_header=True)


def _json_field(value: Any) -> str:
    if value is None:
        return ""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
