"""Runs in a table: mean, standard deviation and rank of every method at every number of shots."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from numclip_lightning.report.measures import Measure, measure_of
from numclip_lightning.report.published import PublishedFigure
from numclip_lightning.report.results import Results

__all__ = ["Cell", "Table", "summarise"]


@dataclass(frozen=True)
class Cell:
    """One method at one number of shots.

    Attributes:
        mean: Over folds and seeds, in the unit of the runs; None where no run has a number.
        std: The sample standard deviation (divisor n - 1); None where there are fewer than two numbers.
        n: How many runs have a number.
        planned: How many were planned.
        paper: Whether a run was selected on the test set.
        rank: 1 is best; None where the cell isn't ranked.
    """

    mean: float | None
    std: float | None
    n: int
    planned: int
    paper: bool
    rank: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every planned run has a number."""
        return 0 < self.planned == self.n


@dataclass(frozen=True)
class Table:
    """One metric on one dataset: a row for each method, a column for each number of shots.

    Attributes:
        dataset: The name of the dataset.
        metric: The key of the metric.
        measure: How to read it.
        shots: The columns, ascending, 0 (all images) last.
        rows: The cells by method, as many as columns.
        published: What others have printed of this metric.
        folds: How many folds were planned.
        seeds: How many seeds were planned.
    """

    dataset: str
    metric: str
    measure: Measure
    shots: list[int]
    rows: dict[str, list[Cell]]
    published: list[PublishedFigure]
    folds: int
    seeds: int

    @property
    def cells(self) -> list[Cell]:
        """All cells."""
        return [cell for row in self.rows.values() for cell in row]


def summarise(results: Results, dataset: str, metric: str, published: Sequence[PublishedFigure] = ()) -> Table:
    """Reduce the runs on a dataset to a table.

    Numbers that are printed alike have the same rank, and the next one follows without a gap. Cells that lack a run are
    not ranked: their mean is over other folds and seeds. Nor are those selected on the test set beside any that aren't.

    Args:
        results: All runs.
        dataset: Which dataset.
        metric: Which metric.
        published: What others have printed of this dataset.

    Raises:
        ConfigError: If it isn't known which way the metric is better.
    """
    measure, shots, methods = measure_of(metric), results.columns(dataset), results.methods(dataset)
    columns = [_rank([_cell(results, dataset, method, n, metric) for method in methods], measure) for n in shots]
    keys = [run.key for run in results.of(dataset)]
    return Table(
        dataset,
        metric,
        measure,
        shots,
        {method: [column[i] for column in columns] for i, method in enumerate(methods)},
        [figure for figure in published if figure.metric == metric],
        folds=len({key.fold for key in keys}),
        seeds=len({key.seed for key in keys}),
    )


def _cell(results: Results, dataset: str, method: str, shots: int, metric: str) -> Cell:
    runs = results.cell(dataset, method, shots)
    numbers = list(results.numbers(dataset, method, shots, metric).values())
    return Cell(
        mean=statistics.fmean(numbers) if numbers else None,
        std=statistics.stdev(numbers) if len(numbers) > 1 else None,
        n=len(numbers),
        planned=len(runs),
        paper=results.is_paper(dataset, method, shots),
    )


def _rank(cells: list[Cell], measure: Measure) -> list[Cell]:
    """Rank the cells of a column."""
    mixed = len({cell.paper for cell in cells if cell.n}) > 1
    printed = [
        float(measure.text(cell.mean)) if cell.is_complete and cell.mean is not None and not (mixed and cell.paper)
        else None
        for cell in cells
    ]  # fmt: skip
    order = sorted({number for number in printed if number is not None}, reverse=not measure.lower_is_better)
    return [
        Cell(cell.mean, cell.std, cell.n, cell.planned, cell.paper, None if number is None else order.index(number) + 1)
        for cell, number in zip(cells, printed, strict=True)
    ]
