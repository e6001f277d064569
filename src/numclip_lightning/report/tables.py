"""Tables as text: Markdown for pages, LaTeX for papers, CSV for programs."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd

from numclip_lightning.report.paired import Comparison
from numclip_lightning.report.published import PublishedFigure
from numclip_lightning.report.results import shots_name
from numclip_lightning.report.summary import Cell, Table

__all__ = [
    "LATEX",
    "MARKDOWN",
    "comparison_frame",
    "comparison_table",
    "latex_table",
    "markdown_grid",
    "markdown_table",
    "notes",
    "table_frame",
]

_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


def _escape_latex(text: str) -> str:
    return "".join(_LATEX_SPECIAL.get(letter, letter) for letter in text)


def _escape_markdown(text: str) -> str:
    return re.sub(r"([|*<])", r"\\\1", text)


class Style(NamedTuple):
    """How a kind of text writes what all tables have."""

    escape: Callable[[str], str]
    best: str
    second: str
    plus_minus: str
    dagger: str


MARKDOWN = Style(_escape_markdown, "**{}**", "<u>{}</u>", " ± ", " †")
LATEX = Style(_escape_latex, r"\textbf{{{}}}", r"\underline{{{}}}", r" $\pm$ ", r"$^{\dagger}$")


def notes(table: Table, style: Style) -> list[str]:
    """Return the sentences below a table: what its numbers and marks mean."""
    better = "lower" if table.measure.lower_is_better else "higher"
    runs = f"{_count(table.folds, 'fold')} and {_count(table.seeds, 'seed')}"
    number = "Mean" if table.folds * table.seeds == 1 else f"Mean{style.plus_minus}sample standard deviation"
    best, second = style.best.format("best"), style.second.format("second best")
    found = [f"{number} over {runs}; {better} is better; {best}, {second} of a column."]
    if any(not cell.is_complete for cell in table.cells if cell.planned):
        found.append("“2 of 3”: so many of the planned runs have a number. Such cells are not ranked.")
    if any(cell.paper for cell in table.cells):
        mark = style.dagger.strip()
        found.append(f"{mark}: selected on the test set (protocol: paper), and not ranked beside what isn't.")
    if table.published:
        sources = ", ".join(dict.fromkeys(figure.source for figure in table.published))
        found.append(f"Published: as printed in {style.escape(sources)}, with backbone and splits of its own.")
    return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _cell_text(cell: Cell, table: Table, style: Style) -> str:
    if not cell.planned:
        return ""
    if cell.mean is None:
        return f"0 of {cell.planned}"
    text = table.measure.text(cell.mean)
    if cell.std is not None:
        text += style.plus_minus + table.measure.text(cell.std)
    text = {1: style.best, 2: style.second}.get(cell.rank or 0, "{}").format(text)
    return text + (style.dagger if cell.paper and cell.n else "") + ("" if cell.is_complete else _share(cell))


def _share(cell: Cell) -> str:
    return f" ({cell.n} of {cell.planned})"


def _published_rows(table: Table) -> list[PublishedFigure]:
    """Return the published figures of methods that aren't in the table; they get a row of their own."""
    return [figure for figure in table.published if figure.method not in table.rows]


def _grid(table: Table, style: Style) -> list[list[str]]:
    """Return the header and the rows of a table, as text."""
    published = {figure.method: table.measure.text(figure.value) for figure in table.published}
    rows = [["Method", *(shots_name(number) for number in table.shots), *(["Published"] if published else [])]]
    for method, cells in table.rows.items():
        beside = [published.get(method, "")] if published else []
        rows.append([style.escape(method), *(_cell_text(cell, table, style) for cell in cells), *beside])
    for figure in _published_rows(table):
        rows.append([style.escape(figure.method), *[""] * len(table.shots), published[figure.method]])
    return rows


def markdown_grid(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is the header, the first column is words and the others are numbers."""
    header, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([header, "| --- " + "| ---: " * (len(rows[0]) - 1) + "|", *body])


def markdown_table(table: Table) -> str:
    """Return a table in Markdown, with the notes below it."""
    return f"{markdown_grid(_grid(table, MARKDOWN))}\n\n{' '.join(notes(table, MARKDOWN))}\n"


def latex_table(table: Table) -> str:
    r"""Return a table as a LaTeX `table`, with caption, label and notes; it needs `\usepackage{booktabs}`."""
    header, *body = (" & ".join(row) + r" \\" for row in _grid(table, LATEX))
    label = re.sub(r"[^A-Za-z0-9]+", "-", f"{table.dataset}-{table.metric}")
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escape_latex(f'{table.measure.title} on {table.dataset}')}}}",
            rf"\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(_grid(table, LATEX)[0]) - 1)}}}",
            r"\toprule",
            header,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\smallskip",
            rf"{{\footnotesize {' '.join(notes(table, LATEX))}}}",
            r"\end{table}",
            "",
        ]
    )


def table_frame(table: Table) -> pd.DataFrame:
    """Return a table for programs: a row for each method and number of shots, numbers in the unit of the runs.

    Returns:
        The columns method, shots (0 is all images), mean, std, n, planned, rank, selected_on_test, and published where
        there is such a figure.
    """
    rows = [
        (method, shots, cell.mean, cell.std, cell.n, cell.planned, cell.rank, cell.paper)
        for method, cells in table.rows.items()
        for shots, cell in zip(table.shots, cells, strict=True)
    ]
    rows += [(figure.method, 0, None, None, 0, 0, None, False) for figure in _published_rows(table)]
    columns = ["method", "shots", "mean", "std", "n", "planned", "rank", "selected_on_test"]
    frame = pd.DataFrame(rows, columns=columns).astype({"mean": "float64", "std": "float64", "rank": "Int64"})
    if table.published:
        published = {figure.method: figure.value for figure in table.published}
        frame["published"] = frame["method"].map(published)
    return frame


def comparison_table(comparisons: Sequence[Comparison], table: Table) -> str:
    """Return the tests of a table in Markdown; differences are in the unit in which the table is printed."""
    text = table.measure.text
    rows = [["Method", "Shots", "Pairs", "Difference", "95 % interval", "p", "p, corrected", "Says"]]
    for one in comparisons:
        shots = "any" if one.shots is None else shots_name(one.shots)
        difference = "" if one.difference is None else text(one.difference)
        interval = "" if one.low is None or one.high is None else f"{text(one.low)} to {text(one.high)}"
        p_values = ["" if p is None else _p_text(p) for p in (one.p, one.corrected)]
        says = one.verdict(table.measure.lower_is_better)
        rows.append([_escape_markdown(one.method), shots, str(one.n), difference, interval, *p_values, says])
    return markdown_grid(rows)


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def comparison_frame(comparisons: Sequence[Comparison], table: Table) -> pd.DataFrame:
    """Return the tests of a table for programs, numbers in the unit of the runs; `shots` is empty for any number."""
    rows = [
        (one.method, one.shots, _protocol(one, table), one.n, one.difference, one.low, one.high, one.p, one.corrected,
         one.verdict(table.measure.lower_is_better))
        for one in comparisons
    ]  # fmt: skip
    columns = ["method", "shots", "protocol", "n", "difference", "low", "high", "p", "p_holm", "verdict"]
    return pd.DataFrame(rows, columns=columns).astype({"shots": "Int64"})


def _protocol(comparison: Comparison, table: Table) -> str:
    """Return how the method was selected; it is paired only with a reference that was selected alike."""
    # Where neither learns anything, all columns hold the same runs.
    place = -1 if comparison.shots is None else table.shots.index(comparison.shots)
    return "paper" if table.rows[comparison.method][place].paper else "clean"
