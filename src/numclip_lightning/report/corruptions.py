"""The table of errors on corrupted images, from the file that `numclip test --corrupt` writes."""

from pathlib import Path

import pandas as pd

from numclip_lightning.errors import DataError

__all__ = ["CORRUPTIONS", "corruption_table"]

CORRUPTIONS = "corruptions.csv"
"""The file in a run folder."""

_COLUMNS = {"kind", "strength", "images", "mae", "ratio"}


def corruption_table(path: str | Path) -> pd.DataFrame:
    """Return MAE over MAE on clean images: a row for each kind, a column for each strength, and `mean` over them.

    Args:
        path: A `corruptions.csv`.

    Returns:
        Kinds in the order of the file, then `mean` over the kinds; NaN where a strength was not measured.

    Raises:
        DataError: If the file can't be read, or is no such table.
    """
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read ({error}); test again with --corrupt.") from error
    measured = frame[frame["kind"] != "clean"] if set(frame) >= _COLUMNS else frame.iloc[:0]
    if measured.empty:
        raise DataError(f"{path} has no rows of kind, strength, images, mae and ratio; test again with --corrupt.")
    table = measured.pivot_table(index="kind", columns="strength", values="ratio", sort=False).sort_index(axis=1)
    table["mean"] = table.mean(axis=1)
    table.loc["mean"] = table.mean(axis=0)
    return table
