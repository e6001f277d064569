"""Queries on the long frame: means and ranks, paired t-tests, costs. Each returns a frame."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ttest_rel

from numclip_lightning.metrics import Measure, measure_of
from numclip_lightning.report.frame import COSTS, KEY, at_every_shots, shots_of
from numclip_lightning.report.guessing import guess_rows
from numclip_lightning.report.published import PublishedFigure

__all__ = ["ASSUMPTIONS", "LEVEL", "compare", "costs", "holm", "rank_cells", "summarise", "verdict_of"]

LEVEL = 0.05
ASSUMPTIONS = (
    "The test is a two-sided paired t-test over the runs that both methods have (same dataset, shots, fold and seed; a "
    "method that learns nothing is paired by fold and seed). It assumes that the differences are independent and "
    "normally distributed. Seeds that share a test set, and folds that share training images, are not wholly "
    "independent, so that true p-values are larger than the printed ones. p-values are corrected after Holm for all "
    "comparisons of one table. Three runs have little power (two degrees of freedom): no difference shown is not no "
    "difference. Results selected on the test set are paired only with each other."
)
# Differences that vary by less than this share of the numbers themselves vary by rounding only.
_ROUNDING = 1e-9
_CELL = ["method", "shots"]


def summarise(rows: pd.DataFrame, metric: str, published: Sequence[PublishedFigure] = ()) -> pd.DataFrame:
    """Reduce a metric on a dataset to a table: a row for each method and number of shots.

    Numbers that are printed alike have the same rank, and the next one follows without a gap. Cells that lack a run are
    not ranked: their mean is over other folds and seeds. Cells selected on the test set are not ranked beside others.
    What guessing costs is never ranked.

    Args:
        rows: The rows of one dataset, see `results_frame`.
        metric: Which metric.
        published: Figures that others have printed of this dataset.

    Returns:
        A row for each method and number of shots, then what guessing costs, where a run has it (see `guess_rows`).
        The columns method, shots (0 is all images), mean, std (divisor n - 1), n (runs with a number), planned, rank (1
        is best), selected_on_test, published if there is such a figure, and tolerance if one of these has one. Numbers
        are in the unit of the runs.

    Raises:
        ConfigError: If the metric is not known.
    """
    measure = measure_of(metric)
    runs = at_every_shots(rows)
    runs = runs[runs["metric"] == metric].assign(test=lambda run: _is_test(run["select_on"]))
    cells = runs.groupby(_CELL, observed=False).agg(
        mean=("value", "mean"), std=("value", "std"), n=("value", "count"), planned=("value", "size"),
        selected_on_test=("test", "sum"),
    ).reset_index()  # fmt: skip
    cells = cells.astype({"method": "object", "shots": "int64"}).assign(selected_on_test=cells["selected_on_test"] > 0)
    cells.insert(6, "rank", rank_cells(cells, measure))
    if len(guesses := guess_rows(rows, metric)):
        cells = pd.concat([cells, guesses], ignore_index=True)
    return _with_published(cells, [figure for figure in published if figure.metric == metric])


def rank_cells(cells: pd.DataFrame, measure: Measure) -> pd.Series:
    """Rank the cells of each column of a table, 1 the best, by the numbers as they are printed.

    Args:
        cells: The columns shots (or whatever the columns of the table are), mean, n, planned and selected_on_test.
        measure: How the numbers are printed.

    Returns:
        The ranks; missing where a cell lacks a run, or was selected on the test set beside others that were not.
    """
    mixed = cells[cells["n"] > 0].groupby("shots")["selected_on_test"].nunique() > 1
    unfair = cells["selected_on_test"] & cells["shots"].map(mixed).eq(True)
    ranked = cells["mean"].where((cells["n"] == cells["planned"]) & ~unfair)
    printed = ranked.map(lambda mean: measure.size(float(measure.text(mean))), na_action="ignore")
    ranks = printed.groupby(cells["shots"]).rank(method="dense", ascending=measure.lower_is_better)
    return ranks.astype("Int64")


def _is_test(select_on: pd.Series) -> pd.Series:
    return select_on.eq("test").fillna(False).astype("int64")


def _with_published(cells: pd.DataFrame, figures: Sequence[PublishedFigure]) -> pd.DataFrame:
    """Add a column of published figures; a method that isn't in the table gets a row of its own."""
    if not figures:
        return cells
    values = {figure.method: figure.value for figure in figures}
    keys = [*zip(cells["method"], cells["shots"], strict=True)]
    keys += [(method, 0) for method in values if method not in set(cells["method"])]
    whole = cells.set_index(_CELL).reindex(pd.MultiIndex.from_tuples(keys, names=_CELL)).reset_index()
    whole = whole.fillna({"n": 0, "planned": 0, "selected_on_test": False})
    whole = whole.astype({"n": "int64", "planned": "int64", "selected_on_test": "bool"})
    whole = whole.assign(published=whole["method"].map(values))
    tolerances = {figure.method: figure.tolerance for figure in figures if figure.tolerance is not None}
    return whole.assign(tolerance=whole["method"].map(tolerances)) if tolerances else whole


def compare(rows: pd.DataFrame, metric: str, reference: str) -> pd.DataFrame:
    """Test each method on a dataset against one of them, at every number of shots.

    A two-sided paired t-test (`scipy.stats.ttest_rel`) over the runs that both have. `ASSUMPTIONS` names what it
    assumes and what three seeds can't show; every report prints it.

    Args:
        rows: The rows of one dataset, see `results_frame`.
        metric: Which metric.
        reference: The method that the others are tested against.

    Returns:
        A row for each other method and number of shots, in the unit of the runs: method, shots (missing if neither
        learns anything), select_on, n (pairs of runs), difference (mean of method minus reference), low and high (its
        95 % confidence interval), p, p_holm (corrected over all rows) and verdict. What can't be computed is missing.
    """
    cells = summarise(rows, metric).set_index(_CELL)["selected_on_test"]
    measure = measure_of(metric)
    runs = at_every_shots(rows[rows["metric"] == metric]).astype({"method": "object", "shots": "int64"})
    runs["value"] = runs["value"].map(measure.size)
    numbers = runs.pivot(index=["shots", "fold", "seed"], columns="method", values="value")
    learns, shots = rows.groupby("method")["trains"].any(), shots_of(rows)
    tests = []
    for method in rows["method"].unique():
        varies = bool(learns[method] or learns[reference])
        # If neither learns anything, all numbers of shots have the same runs.
        for number in (shots if varies else shots[-1:]) if method != reference else ():
            pairs = numbers.loc[number][[method, reference]].dropna()
            test = bool(cells[method, number])
            test_row = _t_test(pairs if test == cells[reference, number] else pairs[:0])
            select_on = "test" if test else "val"
            tests.append({"method": method, "shots": number if varies else None, "select_on": select_on, **test_row})
    found = pd.DataFrame(tests, columns=["method", "shots", "select_on", "n", "difference", "low", "high", "p"])
    found = found.astype({"shots": "Int64", **dict.fromkeys(("difference", "low", "high", "p"), "float64")})
    tested = found["p"].dropna()
    found["p_holm"] = pd.Series(holm(tested.tolist()), tested.index, dtype="float64")
    return found.assign(verdict=[verdict_of(test, measure.lower_is_better) for test in found.to_dict("records")])


def _t_test(pairs: pd.DataFrame) -> dict[str, float]:
    """Test pairs of numbers, (n, 2); fewer than two have no difference, and equal differences no p-value."""
    if len(pairs) < 2:
        return {"n": len(pairs)}
    ours, theirs = (pairs.iloc[:, column].to_numpy() for column in (0, 1))
    differences = ours - theirs
    mean = float(differences.mean())
    if np.abs(differences - mean).max() <= _ROUNDING * np.abs(pairs.to_numpy()).max():
        # The t-value would be 0/0, or infinite and "certain" after two runs.
        return {"n": len(pairs), "difference": mean}
    result = ttest_rel(ours, theirs)
    low, high = result.confidence_interval(0.95)
    return {"n": len(pairs), "difference": mean, "low": float(low), "high": float(high), "p": float(result.pvalue)}


def verdict_of(test: Mapping[Hashable, Any], lower_is_better: bool) -> str:
    """Return the result of a test in words.

    Args:
        test: With n (pairs), difference, p and p_holm.
        lower_is_better: Whether a difference below 0 is good.
    """
    if test["n"] < 2:
        return "fewer than 2 pairs: no test"
    if np.isnan(test["p"]):
        return "equal in every pair" if test["difference"] == 0 else "the same difference in every pair: no test"
    if test["p_holm"] >= LEVEL:
        return "no difference shown"
    return "better" if (test["difference"] < 0) == lower_is_better else "worse"


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, after Holm (1979).

    The i-th smallest of m is multiplied by m - i + 1; none falls below the one before it, none rises above 1.

    Args:
        p_values: The p-values, each 0 to 1.

    Returns:
        The corrected ones, in the same order.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    ranks = pd.Series(p_values, dtype="float64").sort_values(kind="stable")
    corrected = (ranks * np.arange(len(ranks), 0, -1)).clip(upper=1).cummax()
    found: list[float] = corrected.sort_index().tolist()
    return found


def costs(rows: pd.DataFrame) -> pd.DataFrame:
    """Average the costs of each method and number of shots over the finished runs of a dataset.

    Args:
        rows: The rows of one dataset, see `results_frame`.

    Returns:
        The columns method, shots (0 is all images), select_on, n (finished runs), seconds, peak_memory_mib and
        trained_parameters.
    """
    spread = at_every_shots(rows)
    runs = spread.drop_duplicates(KEY).assign(
        finished=lambda run: (run["status"] == "finished").astype("int64"), test=lambda run: _is_test(run["select_on"])
    )
    counts = runs.groupby(_CELL, observed=False)[["finished", "test"]].sum()
    means = spread.groupby([*_CELL, "metric"], observed=False)["value"].mean().unstack("metric").reindex(columns=COSTS)
    select_on = counts["test"].gt(0).map({True: "test", False: "val"})
    return means.assign(select_on=select_on, n=counts["finished"]).reset_index()[[*_CELL, "select_on", "n", *COSTS]]
