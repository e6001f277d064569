"""From a list file to its lines, split into fields: separators, quotes, and files that are no text."""

import codecs
import csv
import io
import logging
import re
from pathlib import Path

from numclip_lightning.data.base.json_lists import read_json
from numclip_lightning.data.base.lines import Line, Table
from numclip_lightning.data.base.numerals import is_number
from numclip_lightning.data.base.workbooks import is_workbook, read_parquet, read_workbook
from numclip_lightning.errors import DataError
from numclip_lightning.images.folders import IMAGE_SUFFIXES
from numclip_lightning.images.opening import kind_of_no_file

__all__ = ["IMAGE_END", "LONGEST_LINE", "find_delimiter", "is_remark", "read_table"]

_log = logging.getLogger(__name__)

LONGEST_LINE = 1_000_000
"""More characters than any entry of a list has, with the votes of hundreds of raters."""

IMAGE_END = r"(?i:\.(?:" + "|".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES)) + "))"
_EXCEL_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
# What is no text, by suffix or by first bytes, and what to do.
_OLD_EXCEL = (
    "is a workbook of LibreOffice, an old one of Excel (.xls), or one with a password; save the sheet as .xlsx, or as "
    "CSV (UTF-8)"
)
_SUFFIXES = {".xls": _OLD_EXCEL, ".ods": _OLD_EXCEL}
_PACKED = "is compressed; unpack it"
_MAGIC = {
    b"PK\x03\x04": "is a ZIP archive, not a list; unpack it, or save the list as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": _OLD_EXCEL,
    b"\x1f\x8b": _PACKED,
    b"BZh": _PACKED,
    b"\xfd7zXZ": _PACKED,
    b"\x28\xb5\x2f\xfd": _PACKED,
    b"version https://git-lfs": "is a pointer of Git LFS, not the list; fetch it with git lfs pull",
    b"<!DOCTYPE": "is a web page, not a list; download the list itself",
    b"<html": "is a web page, not a list; download the list itself",
}


def read_table(source: Path) -> Table:
    """Read a list of any dialect.

    Fields are separated by tabs, commas, semicolons, vertical bars or whitespace, as the first line tells; Excel's
    first line `sep=;` is obeyed, and lines of remarks above it (`# exported in May`) are left out. A file `.jsonl` or
    `.json` has an object for each entry. Excel workbooks (.xlsx) and Parquet files are read with the extra `lists`.

    Raises:
        DataError: If the file can't be read or is empty, or if it is of another kind.
    """
    content = _read_bytes(source)
    if content.startswith(b"PK") and is_workbook(content):
        table, sheets = read_workbook(source, content)
        if len(sheets) > 1:
            _log.warning("%s has %d sheets; the first, %r, is read", source, len(sheets), sheets[0])
        return table
    if content.startswith(b"PAR1"):
        return read_parquet(source, content)
    text = _decode(source, content)
    if source.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        return read_json(source, text)
    # Not `splitlines`, which also breaks at characters that a file name may hold.
    rows = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start = next((number for number, row in enumerate(rows) if row.strip() and not is_remark(row)), None)
    if start is None:
        raise DataError(f"{source} is empty")
    if long := next((number for number, row in enumerate(rows, 1) if len(row) > LONGEST_LINE), None):
        raise DataError(
            f"{source}:{long}: the line has {len(rows[long - 1]):,} characters, more than an entry can have "
            f"({LONGEST_LINE:,}); the file has lost its line ends, or is not a list: write an entry a line"
        )
    if remarks := [row.strip() for row in rows[:start] if row.strip()]:
        _log.warning("%s: remarks above the list are left out (%d, first %r)", source, len(remarks), remarks[0])
    if named := _EXCEL_SEPARATOR.fullmatch(rows[start].strip()):
        delimiter: str | None = named[1]
        start += 1
    else:
        delimiter = find_delimiter(rows[start], source.suffix.lower())
    if delimiter is None:
        rest = enumerate(rows[start:], start + 1)
        lines = [Line(number, row, _split_words(row)) for number, row in rest if row.strip()]
    else:
        lines = _split_quoted(rows, start, delimiter, source)
    if not lines:
        raise DataError(f"{source} is empty")
    return Table(lines, delimiter)


def _read_bytes(source: Path) -> bytes:
    try:
        if kind := kind_of_no_file(source):
            raise DataError(f"label file {source} is {kind}, not a list; save the list as a file and give that")
        return source.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"label file {source} doesn't exist") from error
    except OSError as error:
        raise DataError(f"can't read label file {source}: {error.strerror}") from error


def _decode(source: Path, content: bytes) -> str:
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


def is_remark(row: str) -> bool:
    """Return whether a line above a list is a remark: `# exported in May`, but not `#1.png 3`."""
    return row.lstrip().startswith("#") and not re.search(IMAGE_END, row)


def find_delimiter(line: str, suffix: str) -> str | None:
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
    spaced = head and is_number(last) and not head.rstrip().endswith(",")
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
    # An empty line after the last one is read as such, unless a quotation mark before it is open.
    text = io.StringIO("\n".join([*rows[start:], "", ""]), newline="")
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=delimiter != "\t")
    lines, number = [], start + 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                plain = "\n".join(rows[number - 1 : start + reader.line_num])
                if fault := _fault_of_quotes(fields, reader.line_num > len(rows) - start, delimiter):
                    raise DataError(f"{source}:{number}: {fault}")
                lines.append(Line(number, plain, [field.strip() for field in fields]))
            number = start + reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{source}:{number}: can't split the line at {delimiter!r}: {error}") from error
    return lines


def _fault_of_quotes(fields: list[str], to_the_end: bool, delimiter: str) -> str:
    """Return what is wrong with a quoted field that runs over lines: entries would be lost in it without a word."""
    if to_the_end and "\n" in fields[-1]:
        return "the line has a quotation mark that isn't closed, which takes all lines below it; close it, or remove it"
    inside = [row for field in fields for row in field.split("\n")[1:-1]]
    if any(
        row.count(delimiter) >= len(fields) - 1 and re.search(IMAGE_END + re.escape(delimiter), row) for row in inside
    ):
        return (
            "the line has a quotation mark that is closed lines below it, with entries between; close it in its line, "
            "or remove both"
        )
    return ""
