"""The report of a benchmark: a page that can be read on its own, and its tables and pictures as files."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from numclip_lightning.errors import ConfigError, DataError, check_choice
from numclip_lightning.metrics import measure_of
from numclip_lightning.report.by_count import count_sections
from numclip_lightning.report.cost_table import cost_table
from numclip_lightning.report.cross import Crossed, cross_sections
from numclip_lightning.report.figures import save_curves, save_errors
from numclip_lightning.report.files import with_metrics_of_files
from numclip_lightning.report.frame import COLUMNS, mean_rows, results_frame, shots_name, shots_of
from numclip_lightning.report.group_sections import group_sections
from numclip_lightning.report.interval_sections import interval_sections
from numclip_lightning.report.overall import overall_sections
from numclip_lightning.report.page import code, comparison_summary, how_to_read, image_sections, what_ran
from numclip_lightning.report.predictions import errors_by_value
from numclip_lightning.report.published import PublishedFigure, published_figures
from numclip_lightning.report.score_curve import curve_sections
from numclip_lightning.report.spreadsheets import write_csv
from numclip_lightning.report.statistics import compare, costs, summarise
from numclip_lightning.report.tables import LATEX, MARKDOWN, latex_table, markdown_table, notes
from numclip_lightning.report.trials import Tried, trial_sections

__all__ = ["Request", "write_report"]


@dataclass(frozen=True)
class Request:
    """The content of a report.

    Args:
        title: The heading.
        command: The command that makes the report, for the reader to repeat.
        metrics: The metrics, a table and a picture for each.
        compare_to: The method that all others are tested against; None for no tests.
        published: For a dataset or mean, the name of its published figures (`published.py`).
        means: Datasets by the name of the mean over them, which is shown like a dataset, after them.
    """

    title: str
    command: str
    metrics: Sequence[str] = ("test_mae", "test_acc")
    compare_to: str | None = None
    published: Mapping[str, str] | None = None
    means: Mapping[str, Sequence[str]] | None = None

    def check(self, methods: Sequence[str], datasets: Sequence[str]) -> None:
        """Refuse a report that can't be written; call it before the first run.

        Args:
            methods: All methods of the benchmark.
            datasets: All its datasets.

        Raises:
            ConfigError: If there is no metric, or one that is not known; if `compare_to`
                or `published` names nothing; or if two datasets would write the same files.
        """
        if not self.metrics:
            raise ConfigError("metrics is empty; name at least one, such as test_mae.")
        for metric in self.metrics:
            measure_of(metric)
        if self.compare_to is not None:
            check_choice("compare_to", self.compare_to, methods)
        shown = [*datasets, *(self.means or {})]
        for dataset, name in (self.published or {}).items():
            check_choice("published", dataset, shown)
            published_figures(name)
        stems: dict[str, str] = {}
        for dataset in shown:
            other = stems.setdefault(_stem(dataset).lower(), dataset)
            if other != dataset:
                raise ConfigError(f"the datasets {other!r} and {dataset!r} would write the same files; rename one.")


def write_report(
    planned: Sequence[Mapping[str, Any]],
    records: Sequence[Mapping[str, Any]],
    folder: Path,
    request: Request,
    crossed: Crossed | None = None,
    tried: Tried | None = None,
) -> Path:
    """Write the report of a benchmark with its files, in place of an earlier report.

    The folder then holds `report.md`; `results.csv` and `results.parquet` (a row for each run and metric); in `tables/`
    every table as Markdown, CSV and LaTeX, and the tests, costs and errors by value as CSV; in `plots/` the pictures.

    Args:
        planned: The runs of the benchmark, see `results_frame`.
        records: Their records, see `read_record`. Failed runs and those without a record are shown as such.
        folder: Where to write; created if it doesn't exist.
        request: The content.
        crossed: The tests of the runs on other images, if there are any.
        tried: The trials that arguments were chosen by, if there are any.

    Returns:
        The path of `report.md`.

    Raises:
        ConfigError: If the request can't be met, see `Request.check`.
        DataError: If the records can't be used, or are none.
    """
    for metric in request.metrics:
        # Before any file is read for it.
        measure_of(metric)
    frame = results_frame(planned, with_metrics_of_files(records, request.metrics), request.metrics)
    datasets = frame["dataset"].unique().tolist()
    request.check(frame["method"].unique().tolist(), datasets)
    if (folder / "report.md").is_file():
        # An earlier report's tables and pictures of what is no longer reported would stay.
        for name in ("tables", "plots"):
            shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    write_csv(frame[COLUMNS], folder / "results.csv")
    frame[COLUMNS].to_parquet(folder / "results.parquet", index=False)
    report = folder / "report.md"
    parts = _sections(frame, datasets, request, folder)
    stems = {dataset: _stem(dataset) for dataset in datasets}
    parts += cross_sections(frame, crossed or Crossed(), request.metrics, folder, stems)
    parts += trial_sections(tried or Tried(), folder)
    text = "\n\n".join(part.strip() for part in parts)
    report.write_text(text + "\n", encoding="utf-8")
    return report


def _sections(frame: pd.DataFrame, datasets: Sequence[str], request: Request, folder: Path) -> list[str]:
    """Write the files of all datasets and means, and return the sections of the page."""
    parts = [f"# {request.title}", "Made by", f"```sh\n{request.command}\n```"]
    parts += [*what_ran(frame, request.metrics, folder), *how_to_read(request.compare_to)]
    for dataset in datasets:
        rows = frame[frame["dataset"] == dataset]
        parts += [f"## {MARKDOWN.escape(dataset)}", *_metrics(rows, dataset, request, folder)]
        parts += [*_errors(rows, dataset, folder), *_costs(rows, dataset, folder)]
    parts += overall_sections(frame, request.metrics, datasets, request.compare_to, folder)
    for name, members in (request.means or {}).items():
        of = ", ".join(map(MARKDOWN.escape, members))
        parts += [f"## {MARKDOWN.escape(name)}", f"The mean over {of}, for each fold and seed that all of them have."]
        parts += _metrics(mean_rows(frame, name, members), name, request, folder)
    return parts


def _metrics(rows: pd.DataFrame, dataset: str, request: Request, folder: Path) -> list[str]:
    """Write the tables, pictures and tests of a dataset and return their sections."""
    published = (request.published or {}).get(dataset)
    figures = published_figures(published) if published else ()
    recorded = rows[rows["recorded"]]
    parts = []
    for metric in request.metrics:
        if len(recorded) and metric not in set(recorded["metric"]):
            known = sorted(
                name for name in recorded["metric"].unique() if name.startswith("test_") and "_guess_" not in name
            )
            parts += [f"### {metric}", f"No run on this dataset has {metric}; they have {', '.join(known) or 'none'}."]
        else:
            own = [figure for figure in figures if figure.metric == metric]
            parts += [f"### {measure_of(metric).title}", *_metric(rows, dataset, metric, own, folder)]
            parts += _tests(rows, dataset, metric, request.compare_to, folder)
            parts += image_sections(rows, metric, request.compare_to, folder, f"{_stem(dataset)}-{metric}")
    return parts


def _metric(
    rows: pd.DataFrame, dataset: str, metric: str, figures: Sequence[PublishedFigure], folder: Path
) -> list[str]:
    """Write the table of a metric in three formats and its curves, and return them for the page."""
    cells, measure = summarise(rows, metric, figures), measure_of(metric)
    stem = f"{_stem(dataset)}-{metric}"
    path = folder / "tables" / stem
    below, latex_below = (notes(cells, rows, measure, figures, style) for style in (MARKDOWN, LATEX))
    text, latex = markdown_table(cells, measure, below), latex_table(cells, measure, latex_below, dataset, metric)
    path.with_name(f"{stem}.md").write_text(text, encoding="utf-8")
    path.with_name(f"{stem}.tex").write_text(latex, encoding="utf-8")
    write_csv(cells, path.with_name(f"{stem}.csv"))
    if len(shots_of(rows)) == 1:
        return [text]
    save_curves(folder / "plots" / f"{stem}.png", cells, measure, dataset)
    return [text, f"![{measure.label} against shots](plots/{stem}.png)"]


def _tests(rows: pd.DataFrame, dataset: str, metric: str, reference: str | None, folder: Path) -> list[str]:
    """Write the paired tests of a metric and return them for the page."""
    if reference is None:
        return []
    if reference not in set(rows["method"]):
        return [f"{MARKDOWN.escape(reference)} is not run on this dataset, so nothing is tested against it."]
    tests = compare(rows, metric, reference)
    write_csv(tests, folder / "tables" / f"{_stem(dataset)}-{metric}-tests.csv")
    return [comparison_summary(tests, measure_of(metric), reference, several_shots=len(shots_of(rows)) > 1)]


def _errors(rows: pd.DataFrame, dataset: str, folder: Path) -> list[str]:
    """Write the errors by value, if a run has finished, and return their section."""
    stem, shots = f"{_stem(dataset)}-error-by-value", shots_of(rows)[-1]
    try:
        errors = errors_by_value(rows, shots)
    except DataError as error:
        # The tables have the numbers of all runs nevertheless.
        return ["### Error by value", f"Not shown: {code(str(error))}"]
    if errors.empty:
        return []
    write_csv(errors, folder / "tables" / f"{stem}.csv")
    title = f"Error by value on {dataset}, {shots_name(shots)}"
    save_errors(folder / "plots" / f"{stem}.png", errors, title)
    parts = ["### Error by value", f"![{MARKDOWN.escape(title)}](plots/{stem}.png)"]
    for sections in (count_sections, curve_sections, interval_sections, group_sections):
        try:
            parts += sections(rows, dataset, shots, folder, _stem(dataset))
        except DataError as error:
            parts.append(f"Not shown: {code(str(error))}")
    return parts


def _costs(rows: pd.DataFrame, dataset: str, folder: Path) -> list[str]:
    """Write the costs and return their section."""
    write_csv(costs(rows), folder / "tables" / f"{_stem(dataset)}-costs.csv")
    return ["### Costs", cost_table(rows)]


def _stem(dataset: str) -> str:
    """Return the beginning of the names of a dataset's files."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", dataset)
