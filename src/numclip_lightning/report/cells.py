"""Tables whose columns are no numbers of shots: their cells from one number for each run, and their files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from numclip_lightning.metrics import Measure
from numclip_lightning.report.guessing import GUESSES
from numclip_lightning.report.spreadsheets import write_csv
from numclip_lightning.report.statistics import rank_cells
from numclip_lightning.report.tables import LATEX, MARKDOWN, latex_table, markdown_table

__all__ = ["cells_of", "save_table"]


def cells_of(numbers: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """Reduce the numbers of runs to the cells of a table, as `summarise` does for numbers of shots.

    Args:
        numbers: A row for each run and column of the table: method, column (its place, from 0), value (NaN if the run
            has none, though it was planned) and select_on. What guessing costs has the names of `GUESSES`.
        measure: How the numbers are printed.

    Returns:
        A row for each method and column, in the order of the methods' first rows: method, shots (the column's place),
        mean, std, n, planned, selected_on_test and rank.
    """
    finite = numbers["value"].where(np.isfinite(numbers["value"].astype("float64")))
    marked = numbers.assign(value=finite, test=numbers["select_on"].eq("test").fillna(False).astype("int64"))
    cells = marked.groupby(["method", "column"], sort=False).agg(
        mean=("value", "mean"), std=("value", "std"), n=("value", "count"), planned=("value", "size"),
        selected_on_test=("test", "sum"),
    ).reset_index()  # fmt: skip
    cells = cells.rename(columns={"column": "shots"}).assign(selected_on_test=cells["selected_on_test"] > 0)
    guesses = cells["method"].isin(GUESSES.values())
    ranks = rank_cells(cells[~guesses], measure).reindex(cells.index)
    order = {method: place for place, method in enumerate(dict.fromkeys(cells["method"]))}
    cells = cells.assign(rank=ranks, order=cells["method"].map(order) + guesses * len(order))
    return cells.sort_values(["order", "shots"], kind="stable", ignore_index=True).drop(columns="order")


def save_table(
    path: Path, cells: pd.DataFrame, measure: Measure, columns: Mapping[int, str], remarks: Sequence[str], dataset: str
) -> str:
    """Write a table as Markdown, CSV and LaTeX, and return it for the page.

    Args:
        path: The files without their suffix.
        cells: See `cells_of`.
        measure: How its numbers are printed.
        columns: The headings by their places.
        remarks: Sentences for below the table.
        dataset: For the caption.
    """
    texts = []
    for style in (MARKDOWN, LATEX):
        best, second = style.best.format("best"), style.second.format("second best")
        found = [f"Mean{style.plus_minus}sample standard deviation over runs; {measure.direction} is better; {best}, "
                 f"{second} of a column.", *map(style.escape, remarks)]  # fmt: skip
        if (cells["n"] < cells["planned"]).any():
            found.append("“2 of 3”: 2 of 3 planned runs have a number. Such cells are not ranked.")
        if cells["selected_on_test"].any():
            found.append(f"{style.dagger.strip()}: selected on the test set (select_on: test).")
        if cells["method"].isin(GUESSES.values()).any():
            found.append("Guessing: the same answer for every image, taken from the training part.")
        texts.append(" ".join(found))
    text = markdown_table(cells, measure, texts[0], columns)
    path.with_name(f"{path.name}.md").write_text(text, encoding="utf-8")
    latex = latex_table(cells, measure, texts[1], dataset, path.name, columns)
    path.with_name(f"{path.name}.tex").write_text(latex, encoding="utf-8")
    named = cells.assign(column=cells["shots"].map(columns))
    order = ["method", "column", "mean", "std", "n", "planned", "rank", "selected_on_test"]
    write_csv(named[order], path.with_name(f"{path.name}.csv"))
    return text
