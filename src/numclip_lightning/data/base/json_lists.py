"""Lists in JSON: an object for each entry, a line each or in one list, or a list for each column."""

import json
from pathlib import Path
from typing import Any

from numclip_lightning.data.base.lines import Line, Table
from numclip_lightning.data.base.workbooks import field_of
from numclip_lightning.errors import DataError
from numclip_lightning.plain import TOO_DEEP

__all__ = ["read_json"]

_EXAMPLE = '{"path": "a.png", "target": 3.5}'


def read_json(source: Path, text: str) -> Table:
    """Split a list in JSON; numbers keep the digits that they are written with.

    A `.json` holds a list of objects, or what pandas writes: an object of columns (`orient="columns"` or `"list"`), or
    one with `columns` and `data` (`orient="split"`). A file with an object on each line is read whatever its suffix.

    Raises:
        DataError: If it is no JSON, is empty, or holds something else.
    """
    if not text.strip():
        raise DataError(f"{source} is empty")
    entries = _whole(source, text) if source.suffix.lower() == ".json" else None
    entries = _line_by_line(source, text) if entries is None else entries
    keys: dict[str, None] = {}
    for number, entry in entries:
        if not isinstance(entry, dict):
            raise DataError(f"{source}:{number}: expected a JSON object for each entry, such as {_EXAMPLE}")
        keys.update(dict.fromkeys(entry))
    if not keys:
        raise DataError(f"{source} is empty")
    lines = [
        Line(number, "", [_field(source, number, key, entry.get(key)) for key in keys]) for number, entry in entries
    ]
    return Table([Line(0, "", list(keys)), *lines], "\t", has_header=True)


def _whole(source: Path, text: str) -> list[tuple[int, Any]] | None:
    """Return the entries of a file that is one value; None if it has several, a line each."""
    try:
        found = _decode(source, text.strip())
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and "\n" in text[: error.pos]:
            return None
        raise DataError(
            f"{source}: this is no JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from error
    if isinstance(found, dict):
        found = _from_columns(found)
        if found is None:
            raise DataError(
                f"{source}: expected a list of JSON objects, such as [{_EXAMPLE}]; pandas writes it with "
                "to_json(orient='records')"
            )
    return list(enumerate(found, 1)) if isinstance(found, list) else [(1, None)]


def _from_columns(found: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Turn an object of columns into one for each entry; None if it is none."""
    if isinstance(found.get("columns"), list) and isinstance(found.get("data"), list):
        return [dict(zip(found["columns"], row, strict=False)) for row in found["data"]]
    columns = {key: list(cells.values()) if isinstance(cells, dict) else cells for key, cells in found.items()}
    lengths = {len(cells) if isinstance(cells, list) else -1 for cells in columns.values()}
    if len(lengths) != 1 or -1 in lengths:
        # One entry, if it is a file of one line.
        return [found] if -1 in lengths and not any(isinstance(cell, dict | list) for cell in found.values()) else None
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _line_by_line(source: Path, text: str) -> list[tuple[int, Any]]:
    entries, number = [], 0
    try:
        for number, row in enumerate(text.split("\n"), 1):
            if row.strip():
                entries.append((number, _decode(source, row.strip(), number)))
    except json.JSONDecodeError as error:
        raise DataError(f"{source}:{number}: this is no JSON: {error.msg} (character {error.pos + 1})") from error
    return entries


def _decode(source: Path, text: str, number: int | None = None) -> Any:
    """Decode a value; refuse an object that has a key twice, of which JSON would keep the last."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(key for key, _ in pairs if [other for other, _ in pairs].count(key) > 1)
            where = f"{source}:{number}" if number else str(source)
            raise DataError(f"{where}: an object has {twice!r} twice; keep one")
        return found

    decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=unique)
    try:
        return decoder.decode(text)
    except RecursionError as error:
        raise json.JSONDecodeError(TOO_DEEP, text, 0) from error


def _field(source: Path, number: int, key: str, value: Any) -> str:
    if isinstance(value, dict):
        if value.get("bytes") not in (None, ""):
            raise DataError(f"{source}:{number}: {key!r} holds the image itself; save it as a file, and list its path")
        if not isinstance(value.get("path"), str):
            raise DataError(f"{source}:{number}: {key!r} is an object; give a path or a number")
    return field_of(value)
