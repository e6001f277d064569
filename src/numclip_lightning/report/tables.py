"""Tables as text: a frame of formatted cells, as Markdown for pages and LaTeX for papers."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from numclip_lightning.metrics import Measure
from numclip_lightning.report.frame import KEY, shots_name, shots_of
from numclip_lightning.report.guessing import GUESSES
from numclip_lightning.report.published import PublishedFigure
from numclip_lightning.report.statistics import costs

__all__ = [
    "LATEX",
    "MARKDOWN",
    "comparison_table",
    "cost_table",
    "format_cells",
    "interval_table",
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


def _escape_markdown(text: str) -> str:
    return re.sub(r"([|*<])", r"\\\1", text)


class Style(NamedTuple):
    """Marks and escapes of a kind of text."""

    escape: Callable[[str], str]
    best: str
    second: str
    plus_minus: str
    dagger: str


MARKDOWN = Style(_escape_markdown, "**{}**", "<u>{}</u>", " ± ", " †")
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


def comparison_table(tests: pd.DataFrame, measure: Measure, pairs: str = "Pairs") -> str:
    """Write paired tests in Markdown; differences are in the unit in which the metric is printed.

    Args:
        tests: See `compare`.
        measure: The metric.
        pairs: What was paired, the heading of their number.
    """
    shown = pd.DataFrame(
        {
            "Method": tests["method"].map(_escape_markdown),
            "Shots": ["any" if pd.isna(shots) else shots_name(shots) for shots in tests["shots"]],
            pairs: tests["n"],
            "Difference": _texts(tests["difference"], measure.text),
            "95 % interval": _texts(tests["low"], measure.text, " to ") + _texts(tests["high"], measure.text),
            "p": _texts(tests["p"], _p_text),
            "p, corrected": _texts(tests["p_holm"], _p_text),
            "Result": tests["verdict"],
        }
    )
    return markdown_grid(shown)


def interval_table(intervals: pd.DataFrame, measure: Measure) -> str:
    """Write intervals over images in Markdown: a row for each method, a column for each number of shots.

    Args:
        intervals: See `image_intervals`.
        measure: The metric.
    """
    texts = [
        f"{measure.text(cell['mean'])} ({measure.text(cell['low'])} to {measure.text(cell['high'])})"
        for cell in intervals.to_dict("records")
    ]
    grid = intervals.assign(text=texts).pivot(index="method", columns="shots", values="text")
    grid = grid.reindex(index=intervals["method"].unique(), columns=_all_last(intervals["shots"].unique().tolist()))
    shown = grid.fillna("").rename(columns=shots_name, index=_escape_markdown)
    return markdown_grid(shown.rename_axis(index="Method", columns=None).reset_index())


def _all_last(shots: list[int]) -> list[int]:
    return sorted(shots, key=lambda number: number or math.inf)


def _texts(numbers: pd.Series, text: Callable[[float], str], after: str = "") -> pd.Series:
    return pd.Series(["" if pd.isna(number) else text(number) + after for number in numbers], dtype="object")


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def cost_table(rows: pd.DataFrame) -> str:
    """Write the costs on a dataset in Markdown: seconds for each number of shots, memory and parameters over all.

    Args:
        rows: The rows of one dataset, see `results_frame`.
    """
    groups = costs(rows).groupby("method", observed=False, sort=False)
    seconds = costs(rows).pivot(index="method", columns="shots", values="seconds")[shots_of(rows)]
    shown = seconds.map(lambda number: "" if pd.isna(number) else f"{number:,.1f}")
    shown.columns = [f"Seconds, {shots_name(number)}" for number in shown.columns]
    memory, least, most = (
        groups["peak_memory_mib"].max(), groups["trained_parameters"].min(), groups["trained_parameters"].max()
    )  # fmt: skip
    shown["Peak memory (MiB)"] = memory.map(lambda number: "" if pd.isna(number) else f"{number:,.0f}")
    # Some methods train more if they have seen more images.
    shown["Trained or solved parameters"] = [
        "" if pd.isna(low) else " to ".join(dict.fromkeys((f"{low:,.0f}", f"{high:,.0f}")))
        for low, high in zip(least, most, strict=True)
    ]
    shown = shown.rename(index=_escape_markdown).rename_axis(index="Method", columns=None).reset_index()
    return f"{markdown_grid(shown)}\n\n{_cost_notes(rows)}\n"


def _cost_notes(rows: pd.DataFrame) -> str:
    found = (
        "Means over the finished runs of a method at a number of shots; of the memory, the largest of these. "
        "Solved are parameters that are set without a step: a closed form, or a cache of training features, which has "
        "an entry for each image. A method that learns nothing was run once for all numbers of shots. "
        "Memory on a GPU is that of the run; on a CPU it is that of the whole process, with the libraries."
    )
    runs = rows[rows["status"] == "finished"].drop_duplicates(KEY)
    known = runs[runs["device"].notna()]
    if known.empty:
        return found
    devices = sorted({f"{run.device}, {run.processes} at once" for run in known.itertuples()})
    others = "" if len(known) == len(runs) else "; unknown for the others"
    return f"{found} Made on {'; '.join(devices)}{others}."
