"""CSV files for spreadsheets: cells that would be run as formulas are text."""

from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

__all__ = ["write_csv"]

# What Excel and LibreOffice take for the start of a formula (OWASP, "CSV Injection").
_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table of a report; texts that a spreadsheet would run get an apostrophe in front.

    Names of methods, data, groups and files come from lists and from other programs. Numbers stay as they are.

    Args:
        frame: The table, each column of a name of its own; its index is not written.
        path: The file, replaced if it exists.
    """
    columns = {
        _as_text(name): column if is_numeric_dtype(column) else column.map(_as_text) for name, column in frame.items()
    }
    pd.DataFrame(columns, index=frame.index).to_csv(path, index=False)


def _as_text(cell: Any) -> Any:
    """Return a cell that no spreadsheet runs; numbers in words, such as `-1.5`, are none of them."""
    if not isinstance(cell, str) or not cell.startswith(_STARTS):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
