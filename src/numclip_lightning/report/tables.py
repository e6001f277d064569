"""Tables as text: a frame of formatted cells, as Markdown for pages and LaTeX for papers."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from numclip_lightning.metrics import Measure
from numclip_lightning.report.frame import shots_name
from numclip_lightning.report.guessing import GUESSES
from numclip_lightning.report.published import PublishedFigure

__all__ = [
    "LATEX",
    "MARKDOWN",
    "escape_markdown",
    "format_cells",
    "latex_table",
    "markdown_grid",
    "markdown_table",
    "notes",
]

_LATEX_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    }
)


def _escape_latex(text: str) -> str:
    return text.translate(_LATEX_SPECIAL)


def escape_markdown(text: str) -> str:
    """Keep Markdown from reading marks in a text as its own."""
    return re.sub(r"([|*<])", r"\\\1", text)


class Style(NamedTuple):
    """Marks and escapes of a kind of text."""

    escape: Callable[[str], str]
    best: str
    second: str
    plus_minus: str
    dagger: str


MARKDOWN = Style(escape_markdown, "**{}**", "<u>{}</u>", " ± ", " †")
LATEX = Style(_escape_latex, r"\textbf{{{}}}", r"\underline{{{}}}", r" $\pm$ ", r"$^{\dagger}$")


def format_cells(
    cells: pd.DataFrame, measure: Measure, style: Style, columns: Mapping[int, str] | None = None
) -> pd.DataFrame:
    """Format the cells of a table: a row for each method, a column for each number of shots.

    Args:
        cells: The table, see `summarise`.
        measure: How its metric is printed.
        style: Markdown or LaTeX.
        columns: The headings, where the column `shots` does not hold numbers of shots but places in another table.
    """
    heading = shots_name if columns is None else {place: style.escape(name) for place, name in columns.items()}
    texts = [_cell_text(cell, measure, style) for cell in cells.to_dict("records")]
    grid = cells.assign(text=texts).pivot(index="method", columns="shots", values="text")
    shots = cells["shots"][cells["planned"] > 0].unique()
    shown = grid.reindex(index=cells["method"].unique(), columns=shots).fillna("").rename(columns=heading)
    if "published" in cells:
        shown["Published"] = _published_texts(cells, measure, style).reindex(shown.index).fillna("")
    return shown.rename(index=style.escape).rename_axis(index="Method", columns=None).reset_index()


def _published_texts(cells: pd.DataFrame, measure: Measure, style: Style) -> pd.Series:
    """Return the published figure of each method that has one, with its tolerance if it is known."""
    figures = cells.drop_duplicates("method").set_index("method")
    texts = figures["published"].dropna().map(measure.text)
    if "tolerance" in figures:
        texts += style.plus_minus + figures["tolerance"].map(measure.text, na_action="ignore")
        texts = texts.fillna(figures["published"].map(measure.text, na_action="ignore"))
    return texts


def _cell_text(cell: dict[str, float], measure: Measure, style: Style) -> str:
    n, planned = int(cell["n"]), int(cell["planned"])
    if not planned:
        return ""
    if not n:
        return f"0 of {planned}"
    text = measure.text(cell["mean"])
    if n > 1:
        text += style.plus_minus + measure.text(cell["std"])
    if not pd.isna(cell["rank"]):
        text = {1: style.best, 2: style.second}.get(int(cell["rank"]), "{}").format(text)
    return text + (style.dagger if cell["selected_on_test"] else "") + ("" if n == planned else f" ({n} of {planned})")


def notes(
    cells: pd.DataFrame, rows: pd.DataFrame, measure: Measure, figures: Sequence[PublishedFigure], style: Style
) -> str:
    """Explain the numbers and marks of a table.

    Args:
        cells: The table, see `summarise`.
        rows: The rows of its dataset.
        measure: Its metric.
        figures: The published figures in it.
        style: Markdown or LaTeX.
    """
    folds, seeds = rows["fold"].nunique(), rows["seed"].nunique()
    runs = f"{_count(folds, 'fold')} and {_count(seeds, 'seed')}"
    number = "Mean" if folds * seeds == 1 else f"Mean{style.plus_minus}sample standard deviation"
    best, second = style.best.format("best"), style.second.format("second best")
    found = [f"{number} over {runs}; {measure.direction} is better; {best}, {second} of a column."]
    if (cells["n"] < cells["planned"]).any():
        found.append("“2 of 3”: 2 of 3 planned runs have a number. Such cells are not ranked.")
    if cells["selected_on_test"].any():
        mark = style.dagger.strip()
        found.append(f"{mark}: selected on the test set (select_on: test), and not ranked beside other results.")
    if cells["method"].isin(GUESSES.values()).any():
        found.append("Guessing: the same answer for every image, taken from the training part, without a look at it.")
    if figures:
        sources = ", ".join(dict.fromkeys(figure.source for figure in figures))
        found.append(f"Published: as printed in {style.escape(sources)}, with their own backbones and splits.")
        if any(figure.tolerance is not None for figure in figures):
            mark = style.plus_minus.strip()
            found.append(f"{mark} of a published figure: its printed deviation, or the distance to what others got.")
        remarks = dict.fromkeys(figure.note for figure in figures if figure.note)
        found += [f"{style.escape(remark[0].upper() + remark[1:])}." for remark in remarks]
    return " ".join(found)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def markdown_grid(shown: pd.DataFrame) -> str:
    """Write a formatted frame as a Markdown table; the first column is words and the others are numbers."""
    lines = [list(shown.columns), *shown.to_numpy().tolist()]
    header, *body = (f"| {' | '.join(map(str, line))} |" for line in lines)
    return "\n".join([header, "| --- " + "| ---: " * (shown.shape[1] - 1) + "|", *body])


def markdown_table(cells: pd.DataFrame, measure: Measure, below: str, columns: Mapping[int, str] | None = None) -> str:
    """Write a table in Markdown, with notes below it; `columns` as in `format_cells`."""
    return f"{markdown_grid(format_cells(cells, measure, MARKDOWN, columns))}\n\n{below}\n"


def latex_table(
    cells: pd.DataFrame,
    measure: Measure,
    below: str,
    dataset: str,
    metric: str,
    columns: Mapping[int, str] | None = None,
) -> str:
    r"""Write a table as a LaTeX `table` with caption, label and notes; it needs `\usepackage{booktabs}`."""
    shown = format_cells(cells, measure, LATEX, columns)
    text: str = shown.style.hide(axis="index").to_latex(
        column_format="l" + "r" * (shown.shape[1] - 1),
        position_float="centering",
        hrules=True,
        caption=_escape_latex(f"{measure.title} on {dataset}"),
        label="tab:" + re.sub(r"[^A-Za-z0-9]+", "-", f"{dataset}-{metric}"),
    )
    end = r"\end{table}"
    footnote = f"\\par\\smallskip\n{{\\footnotesize {below}}}\n{end}"
    return "% \\usepackage{booktabs}\n" + text.replace(end, footnote)
