"""Methods over all data sets of a benchmark: Friedman's test, a critical-difference picture, Wilcoxon's test.

Source: Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from numclip_lightning.metrics import measure_of
from numclip_lightning.report.figures import save_ranks
from numclip_lightning.report.guessing import GUESSES
from numclip_lightning.report.ranks import RankComparison, compare_ranks, undecided, wilcoxon_test
from numclip_lightning.report.spreadsheets import write_csv
from numclip_lightning.report.statistics import LEVEL, holm, summarise
from numclip_lightning.report.tables import MARKDOWN, markdown_grid

__all__ = ["dataset_table", "overall_sections"]

_FEWEST = 3


def dataset_table(frame: pd.DataFrame, metric: str, datasets: Sequence[str]) -> pd.DataFrame:
    """Return the mean of each method on each data set, with all its training images.

    Args:
        frame: All results, see `results_frame`.
        metric: Which metric.
        datasets: The data sets.

    Returns:
        A row for each data set on which at least one method has all its runs, a column for each method that has them on
        all of these and was selected on validation images. What methods are compared by: for a bias, its distance
        from 0.
    """
    measure = measure_of(metric)
    found = {}
    for dataset in datasets:
        cells = summarise(frame[frame["dataset"] == dataset], metric)
        cells = cells[~cells["method"].isin(GUESSES.values()) & ~cells["selected_on_test"]]
        whole = cells[(cells["n"] == cells["planned"]) & (cells["n"] > 0)]
        # All images come as 0; else the most shots.
        last = whole[whole["shots"] == (0 if (whole["shots"] == 0).any() else whole["shots"].max())]
        if len(last):
            found[dataset] = last.set_index("method")["mean"].map(measure.size)
    methods = frame["method"].unique()
    table = pd.DataFrame(found).T.reindex(columns=methods)
    return table.dropna(axis="columns")


def overall_sections(
    frame: pd.DataFrame, metrics: Sequence[str], datasets: Sequence[str], reference: str | None, folder: Path
) -> list[str]:
    """Write the ranks over data sets, a table and a picture for each metric, and return their sections.

    Args:
        frame: All results, see `results_frame`.
        metrics: The metrics of the report.
        datasets: Its data sets.
        reference: The method that each other is tested against by Wilcoxon's test; None for no such tests.
        folder: The folder of the report.
    """
    if len(datasets) < 2:
        return []
    parts = ["## Over data sets"]
    if len(datasets) < _FEWEST:
        return [*parts, f"Not tested: {len(datasets)} data sets; tests over data sets need {_FEWEST} or more."]
    for metric in metrics:
        table = dataset_table(frame, metric, datasets)
        parts.append(f"### {measure_of(metric).title} over data sets")
        if len(table) < _FEWEST or table.shape[1] < _FEWEST:
            parts.append(
                f"Not tested: {table.shape[1]} methods have all their runs on {len(table)} data sets; Friedman's test "
                f"needs {_FEWEST} or more of both."
            )
            continue
        parts += _ranks(table, metric, reference, folder)
    return parts


def _ranks(table: pd.DataFrame, metric: str, reference: str | None, folder: Path) -> list[str]:
    measure = measure_of(metric)
    found = compare_ranks(table.to_numpy(), lower_is_better=measure.lower_is_better, level=LEVEL)
    shown = pd.DataFrame({"method": table.columns, "rank": found.ranks})
    if reference in set(table.columns):
        others = [method for method in table.columns if method != reference]
        p = [wilcoxon_test(table[method], table[reference]) for method in others]
        tests = pd.DataFrame({"method": others, "p_wilcoxon": p, "p_holm": holm(p)})
        shown = shown.merge(tests, on="method", how="left")
    shown = shown.sort_values("rank", kind="stable", ignore_index=True)
    stem = f"over-datasets-{metric}"
    write_csv(shown, folder / "tables" / f"{stem}.csv")
    save_ranks(folder / "plots" / f"{stem}.png", list(table.columns), found, measure.title)
    return [
        f"![Mean ranks of {measure.label} over data sets](plots/{stem}.png)",
        _words(found, list(table.columns)),
        markdown_grid(_texts(shown, reference)),
    ]


def _texts(shown: pd.DataFrame, reference: str | None) -> pd.DataFrame:
    ranks = shown["rank"].map("{:.2f}".format)
    texts = pd.DataFrame({"Method": shown["method"].map(MARKDOWN.escape), "Mean rank": ranks})
    if "p_wilcoxon" in shown:
        titles = {"p_wilcoxon": f"p against {MARKDOWN.escape(str(reference))}", "p_holm": "p, corrected"}
        for column, title in titles.items():
            texts[title] = shown[column].map("{:.3f}".format, na_action="ignore").fillna("")
    return texts


def _words(found: RankComparison, methods: Sequence[str]) -> str:
    """Write the result of the tests in sentences."""
    alike = "; ".join(
        ", ".join(MARKDOWN.escape(methods[place]) for place in members)
        for members in undecided(found.ranks, found.critical_difference)
    )
    differ = "differ" if found.p < LEVEL else "are not shown to differ"
    return (
        f"Rank 1 is the best; {found.datasets} data sets, means over all runs on each. By Friedman's test the methods "
        f"{differ} (p {found.p:.3f}). Mean ranks must be {found.critical_difference:.2f} apart to show that two "
        f"methods differ (Nemenyi, {LEVEL}); sets without one: {alike or 'none'}. Where each is tested against one, "
        f"p is that of Wilcoxon's signed-rank test, which {found.datasets} data sets can't bring below "
        f"{2 / 2**found.datasets:.3g}."
    )
