"""Lists in Excel workbooks and Parquet files, as lines of text; each needs a package that is no requirement."""

import datetime
import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from numclip_lightning.data.base.lines import Line, Table
from numclip_lightning.data.base.types import MAX_UNPACKED
from numclip_lightning.errors import DataError

__all__ = ["field_of", "is_workbook", "read_parquet", "read_workbook"]

# Of a Parquet file at a time, and of each at the least.
_ROWS = 1_000
_LEAST_BYTES = 8
_EXTRA = "pip install 'numclip-lightning[lists]'"


def is_workbook(content: bytes) -> bool:
    """Return whether a file is an Excel workbook, whatever its suffix."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return "xl/workbook.xml" in archive.namelist()
    except zipfile.BadZipFile:
        return False


def read_workbook(source: Path, content: bytes) -> tuple[Table, list[str]]:
    """Read the first sheet of an Excel workbook (.xlsx, .xlsm) that is not hidden.

    Args:
        source: The file, for messages.
        content: Its bytes.

    Returns:
        Its lines, numbered as Excel numbers them, and the names of the sheets with entries, that one first.

    Raises:
        DataError: If openpyxl is missing, the file can't be read, or it has no entry.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise DataError(
            f"{source} is an Excel workbook; reading it needs openpyxl: {_EXTRA}, or save the sheet as CSV (UTF-8)"
        ) from error
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > MAX_UNPACKED:
        raise DataError(
            f"{source} unpacks to {size / 1e9:.1f} GB, more than a list has ({MAX_UNPACKED / 1e9:g} GB); save the "
            "sheet as CSV (UTF-8)"
        )
    try:
        with warnings.catch_warnings():
            # Of styles and rules that nothing here reads.
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            sheets = {
                sheet.title: [[field_of(value) for value in row] for row in sheet.iter_rows(values_only=True)]
                for sheet in book.worksheets
                if sheet.sheet_state == "visible"
            }
    # Whatever its readers of XML meet in a damaged file.
    except Exception as error:
        raise DataError(
            f"{source} can't be read as an Excel workbook ({error}); save the sheet as CSV (UTF-8)"
        ) from error
    lines = {title: _lines(rows) for title, rows in sheets.items()}
    filled = [title for title, found in lines.items() if found]
    if not filled:
        raise DataError(f"{source} is empty")
    return Table(lines[filled[0]], "\t"), filled


def _lines(rows: list[list[str]]) -> list[Line]:
    """Return the rows that are not empty, all as wide as the widest one: a sheet leaves out empty cells at the end."""
    width = max(map(len, rows), default=0)
    return [Line(number, "", row + [""] * (width - len(row))) for number, row in enumerate(rows, 1) if any(row)]


def read_parquet(source: Path, content: bytes) -> Table:
    """Read a Parquet file, as pandas and Hugging Face write them; the index of pandas has no name.

    Raises:
        DataError: If pyarrow is missing, the file can't be read or is empty, or images are in it and not in files.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            f"{source} is a Parquet file; reading it needs pyarrow: {_EXTRA}, or save the list as CSV (UTF-8)"
        ) from error
    try:
        table = _bounded(source, pyarrow.parquet.ParquetFile(io.BytesIO(content)))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{source} can't be read as Parquet ({error}); save the list as CSV (UTF-8)") from error
    if not table.num_rows:
        raise DataError(f"{source} is empty")
    columns = []
    for name in table.column_names:
        kind, values = table.schema.field(name).type, table.column(name).to_pylist()
        if any(isinstance(value, bytes) or (isinstance(value, dict) and value.get("bytes")) for value in values):
            raise DataError(
                f"{source}: the column {name!r} holds the images themselves; save them as files, and list their paths"
            )
        narrow = {pyarrow.float16(): np.float16, pyarrow.float32(): np.float32}.get(kind)
        # 3.3 in 32 bits is 3.299999952316284 in 64.
        columns.append([field_of(value if narrow is None or value is None else narrow(value)) for value in values])
    names = ["" if name.startswith("__index_level_") else name for name in table.column_names]
    rows = enumerate(zip(*columns, strict=True), 1)
    return Table([Line(0, "", names), *(Line(number, "", list(row)) for number, row in rows)], "\t", has_header=True)


def _bounded(source: Path, file: Any) -> Any:
    """Read a Parquet file part by part, up to the bytes that a list may have."""
    import pyarrow

    about = file.metadata
    size = sum(about.row_group(place).total_byte_size for place in range(about.num_row_groups))
    size = max(size, about.num_rows * _LEAST_BYTES)
    parts, held = [], 0
    for part in file.iter_batches(batch_size=_ROWS) if size <= MAX_UNPACKED else ():
        # Bytes that are written once may stand for many rows.
        columns = [column.dictionary_decode() if hasattr(column, "dictionary") else column for column in part.columns]
        parts.append(pyarrow.RecordBatch.from_arrays(columns, part.schema.names))
        held += parts[-1].nbytes
        if held > MAX_UNPACKED:
            break
    if max(size, held) > MAX_UNPACKED:
        raise DataError(
            f"{source} unpacks to more than a list has ({MAX_UNPACKED / 1e9:g} GB); if it holds the images themselves, "
            "save them as files and list their paths, else save the list as CSV (UTF-8)"
        )
    return pyarrow.Table.from_batches(parts) if parts else file.schema_arrow.empty_table()


def field_of(value: Any) -> str:
    """Write a value as a list in text would have it: numbers with all their digits, and nothing for an unknown one."""
    if value is None:
        return ""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else str(value).removesuffix(".0")
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, list | tuple):
        return " ".join(map(field_of, value))
    # Hugging Face's images are objects with a path.
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        return str(value["path"])
    return str(value).strip()
