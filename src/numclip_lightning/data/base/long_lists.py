"""Long lists of a plain kind, read into columns by pyarrow; all others, and all mistakes, are left to `dialects`."""

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from numclip_lightning.data.base.columns import AskedColumns, Columns, find_columns
from numclip_lightning.data.base.dialects import has_header
from numclip_lightning.data.base.label_columns import Categories, LabelColumns, Strings
from numclip_lightning.data.base.lines import Line, Table
from numclip_lightning.data.base.numerals import is_number, is_unknown
from numclip_lightning.data.base.paths import LONGEST_PATH, path_key
from numclip_lightning.data.base.tables import find_delimiter, is_remark
from numclip_lightning.errors import DataError

__all__ = ["read_columns"]

# Below it reading line by line takes less than half a second, about as long as importing pyarrow.
LEAST_BYTES = 500_000
_SUFFIXES = (".csv", ".tsv", ".txt", ".lst", "")
# What `path_key` changes.
_ODD_PATH = r"\\|//|/$|(^|/)\.(/|$)"


def read_columns(source: Path, asked: AskedColumns, *, labelled: bool) -> LabelColumns | None:
    """Read a list into columns, if it is long and plain: the same entries as `labels.read_labels` finds.

    Plain is a text of UTF-8 in which every line is an entry, with commas or tabs between fields (or paths alone), no
    quotation marks, one finite number for each label, and no path twice. Whatever else a list may have, good or bad, is
    for the reader of single lines, which knows what to say of it.

    Returns:
        The columns; None if the list is short or not plain, or pyarrow is not installed.
    """
    if source.suffix.lower() not in _SUFFIXES or not source.is_file() or source.stat().st_size < LEAST_BYTES:
        return None
    if find_spec("pyarrow") is None:
        return None
    content = source.read_bytes()
    head = _head(content)
    if head is None:
        return None
    named = has_header(head, asked, labelled=labelled)
    try:
        columns = (
            find_columns(source, head, asked, labelled=labelled) if named else _bare_columns(head, asked, labelled)
        )
    except DataError:
        return None
    if columns is None:
        return None
    table = _read(content, head.delimiter, columns, skipped=int(named))
    # Each copy of a long list counts.
    del content
    # Where there is a label, a header that is repeated has no number.
    header = head.lines[0].fields[columns.path] if named and columns.target is None else None
    if table is None or (header is not None and header in table.column(str(columns.path)).to_pylist()):
        return None
    return _checked(table, columns, source, int(named) + 1)


def _head(content: bytes) -> Table | None:
    """Split the first two lines; None if anything tells that the list is not plain."""
    returns = content.count(b"\r")
    if any(mark in content for mark in (b'"', b"\0")) or (returns and returns != content.count(b"\r\n")):
        return None
    try:
        rows = [row.decode().rstrip("\r") for row in content[:10_000].split(b"\n", 2)[:2]]
    except UnicodeDecodeError:
        return None
    first = rows[0]
    if len(rows) < 2 or not all(map(str.strip, rows)) or is_remark(first):
        return None
    if first.startswith(("\ufeff", "sep=", "{", "[", "<")):
        return None
    delimiter = find_delimiter(first, ".csv")
    if delimiter not in (",", "\t", None) or (delimiter is None and re.search(rb"[ \t\v\f]", content)):
        return None
    fields = [[field.strip() for field in (row.split(delimiter) if delimiter else [row])] for row in rows]
    return Table([Line(number, row, split) for number, (row, split) in enumerate(zip(rows, fields, strict=True), 1)],
                 delimiter)  # fmt: skip


def _bare_columns(head: Table, asked: AskedColumns, labelled: bool) -> Columns | None:
    """Return the columns of a list without a header: a path, or a path and a label; None if there may be others."""
    names = ("path", "target", "group", "propensity")
    if asked.attributes or any(asked.needed(name, (), labelled=labelled or name == "path") for name in names):
        return None
    fields = head.lines[0].fields
    if is_number(fields[0]) or len(fields) > 2 or (labelled and len(fields) < 2):
        return None
    return Columns(len(fields), 0, 1 if len(fields) == 2 else None, None, None, None)


def _read(content: bytes, delimiter: str | None, columns: Columns, *, skipped: int) -> Any | None:
    """Split a list into columns; None if a line is not an entry, or a number is not one."""
    import pyarrow
    from pyarrow import csv

    numbers = [place for place in (columns.target, columns.spread, columns.propensity) if place is not None]
    texts = [place for place in (columns.path, columns.group) if place is not None]
    texts += [place for _, place in columns.attributes]
    types = {str(place): pyarrow.string() for place in texts} | {str(place): pyarrow.float64() for place in numbers}
    try:
        table = csv.read_csv(
            pyarrow.py_buffer(content),
            csv.ReadOptions(column_names=[str(place) for place in range(columns.total)], skip_rows=skipped),
            # Without a separator a line is a path; there is no tab in it.
            csv.ParseOptions(delimiter=delimiter or "\t", quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types=types, include_columns=[*types], null_values=[], strings_can_be_null=False),
        )
    except pyarrow.ArrowInvalid:
        return None
    lines = content.count(b"\n") + (not content.endswith(b"\n")) - skipped
    return table if table.num_rows == lines else None


def _checked(table: Any, columns: Columns, source: Path, first_line: int) -> LabelColumns | None:
    """Take the columns of a table; None if an entry is not plain."""
    written = table.column(str(columns.path))
    paths = _strings(written)
    numbers = {}
    for name, place in (("targets", columns.target), ("spreads", columns.spread), ("propensities", columns.propensity)):
        if place is not None:
            numbers[name] = torch.from_numpy(np.array(table.column(str(place)).to_numpy()))
            if not _is_right[name](numbers[name]):
                return None
    groups = None if columns.group is None else _categories(table.column(str(columns.group)))
    attributes = {name: _categories(table.column(str(place))) for name, place in columns.attributes}
    if groups and any(map(is_unknown, groups.names)):
        return None
    if paths is None or _has_repeats(paths, has_odd=_any(written, _ODD_PATH)):
        return None
    return LabelColumns(
        source=source, paths=paths, first_line=first_line, groups=groups, attributes=attributes, **numbers
    )


_is_right: dict[str, Callable[[Tensor], bool]] = {
    "targets": lambda found: bool(found.isfinite().all()),
    "spreads": lambda found: bool((found.isfinite() & (found >= 0)).all()),
    "propensities": lambda found: bool(((found > 0) & (found <= 1)).all()),
}


def _has_repeats(paths: Strings, *, has_odd: bool) -> bool:
    """Return whether an image may be listed twice, in any spelling that `path_key` makes one.

    Hashes, which take a tenth of the memory of the texts; in the rare case that two are equal by chance, the reader of
    single lines looks again.
    """
    keys = map(hash, map(path_key, paths) if has_odd else paths)
    return len(np.unique(np.fromiter(keys, np.int64, len(paths)))) < len(paths)


def _any(texts: Any, pattern: str) -> bool:
    """Return whether a pattern is found in any text."""
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())


def _categories(column: Any) -> Categories:
    import pyarrow.compute as pc

    found = pc.utf8_trim_whitespace(column).combine_chunks().dictionary_encode()
    codes = torch.from_numpy(found.indices.to_numpy(zero_copy_only=False).astype(np.int32))
    return Categories(codes, tuple(found.dictionary.to_pylist()))


def _strings(column: Any) -> Strings | None:
    """Copy texts without the blanks around them; None if one is empty."""
    import pyarrow.compute as pc

    texts = column.combine_chunks()
    if _any(texts, r"^\s|\s$|[^\x00-\x7f]"):
        texts = pc.utf8_trim_whitespace(texts)
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    lengths = np.diff(ends)
    if not (lengths > 0).all() or lengths.max() > LONGEST_PATH:
        return None
    found = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]].copy()
    return Strings(torch.from_numpy(found), torch.from_numpy(ends - ends[0]))
