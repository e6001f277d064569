"""The report of a benchmark: a page that can be read on its own, and beside it the files that it is made from."""

import html
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numclip_lightning.errors import ConfigError, DataError, check_choice
from numclip_lightning.report.costs import cost_frame, cost_table
from numclip_lightning.report.figures import save_curves, save_errors
from numclip_lightning.report.measures import measure_of
from numclip_lightning.report.paired import ASSUMPTIONS, LEVEL, Comparison, compare
from numclip_lightning.report.predictions import errors_by_value
from numclip_lightning.report.published import published_figures
from numclip_lightning.report.results import Results, Run, shots_name
from numclip_lightning.report.summary import Table, summarise
from numclip_lightning.report.tables import (
    MARKDOWN,
    comparison_frame,
    comparison_table,
    latex_table,
    markdown_grid,
    markdown_table,
    table_frame,
)

__all__ = ["Request", "write_report"]


@dataclass(frozen=True)
class Request:
    """What a report is to show.

    Args:
        title: Its heading.
        command: The command that makes it, for the reader to repeat.
        metrics: A table and a picture for each of them.
        compare_to: The method that all others are tested against; None for no tests.
        published: For a dataset or mean, the name under which others have published figures of it (`published.py`).
        means: Datasets by the name of the mean over them, which is shown like a dataset, behind them.
    """

    title: str
    command: str
    metrics: Sequence[str] = ("test_mae", "test_acc")
    compare_to: str | None = None
    published: Mapping[str, str] | None = None
    means: Mapping[str, Sequence[str]] | None = None

    def check(self, methods: Sequence[str], datasets: Sequence[str]) -> None:
        """Refuse what can't be reported; call it before the first run.

        Args:
            methods: All methods of the benchmark.
            datasets: All its datasets.

        Raises:
            ConfigError: If there is no metric, or one of which it isn't known which way it is better; if `compare_to`
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
    planned: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]], folder: Path, request: Request
) -> Path:
    """Write the report of a benchmark and everything it is made from, in place of an earlier report.

    The folder then holds `report.md`; `results.csv` and `results.parquet` (a row for each run and metric); in `tables/`
    every table as Markdown, CSV and LaTeX, and the tests, costs and errors by value as CSV; in `plots/` the pictures.

    Args:
        planned: The runs that were asked for, see `Results`.
        records: What they wrote, see `read_record`. Failed runs and those without a record are shown as such.
        folder: Where to write; created where it doesn't exist.
        request: What to show.

    Returns:
        The path of `report.md`.

    Raises:
        ConfigError: If the request can't be met, see `Request.check`.
        DataError: If the records can't be used, or are none.
    """
    results = Results(planned, records, request.means)
    request.check(list(dict.fromkeys(run.key.method for run in results.runs)), results.datasets)
    if (folder / "report.md").is_file():
        # Of what is reported no longer, an earlier report's tables and pictures would stay.
        for name in ("tables", "plots"):
            shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    frame = results.long(request.metrics)
    frame.to_csv(folder / "results.csv", index=False)
    frame.to_parquet(folder / "results.parquet", index=False)
    parts = [f"# {request.title}", "Made by", f"```sh\n{request.command}\n```", *_what_ran(results, request, folder)]
    parts += _how_to_read(request.compare_to)
    for dataset in [*results.datasets, *results.means]:
        parts += _dataset(results, dataset, request, folder)
    report = folder / "report.md"
    report.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")
    return report


def _what_ran(results: Results, request: Request, folder: Path) -> list[str]:
    """Return the section that counts the runs and names those that failed or ended without a number."""
    groups = [(MARKDOWN.escape(dataset), results.of(dataset)) for dataset in results.datasets]
    groups += [("All", results.runs)] if len(groups) > 1 else []
    rows = [["Dataset", "Planned", "Finished", "Failed", "Not run"]]
    for name, runs in groups:
        counts = [sum(run.status == status for run in runs) for status in ("finished", "failed", "missing")]
        rows.append([name, *map(str, [len(runs), *counts])])
    parts = ["## What ran", markdown_grid(rows), _versions(results.runs)]
    failed = [_line(run, _code(run.error), folder) for run in results.runs if run.error is not None]
    if failed:
        parts += [f"{len(failed)} of {len(results.runs)} runs failed:", "\n".join(failed)]
    endless = [
        _line(run, f"{metric} is {run.values[metric]:g}", folder)
        for run in results.runs
        for metric in request.metrics
        if metric in run.values and not math.isfinite(run.values[metric])
    ]
    if endless:
        parts += ["These finished without a number; they count as not finished below:", "\n".join(endless)]
    return parts


def _line(run: Run, what: str, folder: Path) -> str:
    """Return a line that names a run, what became of it and its folder."""
    where = Path(os.path.relpath(run.folder or folder, folder)).as_posix()
    return f"- {MARKDOWN.escape(str(run.key))}: {what} ({_code(where)})"


def _how_to_read(reference: str | None) -> list[str]:
    shots = (
        "Shots are training images for each value; all images stand last. A method that learns nothing has the same "
        "numbers at any number of shots. The tables are also in `tables/`, as CSV (in the unit of the runs) and LaTeX; "
        "every run is in `results.csv` and `results.parquet`."
    )
    return ["## How to read this", shots, *([ASSUMPTIONS] if reference is not None else [])]


def _versions(runs: Sequence[Run]) -> str:
    """Say which code made the results; results of several commits are named as such."""
    commits = sorted({run.commit for run in runs if run.commit})
    versions = sorted({f"{name} {number}" for run in runs for name, number in run.versions.items()})
    made = f"Commit{'s' if len(commits) > 1 else ''} {', '.join(commits) or 'unknown'}"
    made += f"; {', '.join(versions) or 'versions unknown'}."
    return made + (" The runs were made by different code: compare with care." if len(commits) > 1 else "")


def _dataset(results: Results, dataset: str, request: Request, folder: Path) -> list[str]:
    """Write the files of a dataset and return its sections."""
    stem, published = _stem(dataset), (request.published or {}).get(dataset)
    figures = published_figures(published) if published else ()
    parts = [f"## {MARKDOWN.escape(dataset)}"]
    if dataset in results.means:
        of = ", ".join(map(MARKDOWN.escape, results.means[dataset]))
        parts += [f"The mean over {of}, of each fold and seed that all of them have."]
    finished = [run for run in results.of(dataset) if run.status == "finished"]
    for metric in request.metrics:
        if finished and not any(metric in run.values for run in finished):
            known = sorted({name for run in finished for name in run.values if name.startswith("test_")})
            parts += [f"### {metric}", f"No run on this dataset has {metric}; they have {', '.join(known) or 'none'}."]
            continue
        table = summarise(results, dataset, metric, figures)
        parts += [f"### {table.measure.title}", *_metric(table, results, request.compare_to, folder)]
    if dataset in results.means:
        return parts
    cost_frame(results, dataset).to_csv(folder / "tables" / f"{stem}-costs.csv", index=False)
    return [*parts, *_errors(results, dataset, folder), "### Costs", cost_table(results, dataset)]


def _errors(results: Results, dataset: str, folder: Path) -> list[str]:
    """Write the errors by value, where a run has finished, and return their section."""
    stem, shots = f"{_stem(dataset)}-error-by-value", results.columns(dataset)[-1]
    try:
        errors = errors_by_value(results, dataset, shots)
    except DataError as error:
        # The numbers of all runs stand in the tables nevertheless.
        return ["### Error by value", f"Not shown: {_code(str(error))}"]
    if errors.empty:
        return []
    errors.to_csv(folder / "tables" / f"{stem}.csv", index=False)
    title = f"Error by value on {dataset}, {shots_name(shots)}"
    save_errors(folder / "plots" / f"{stem}.png", errors, title)
    return ["### Error by value", f"![{MARKDOWN.escape(title)}](plots/{stem}.png)"]


def _metric(table: Table, results: Results, reference: str | None, folder: Path) -> list[str]:
    """Write the files of a metric and return what the page says of it."""
    stem = f"{_stem(table.dataset)}-{table.metric}"
    path, text = folder / "tables" / stem, markdown_table(table)
    path.with_name(f"{stem}.md").write_text(text, encoding="utf-8")
    path.with_name(f"{stem}.tex").write_text(latex_table(table), encoding="utf-8")
    table_frame(table).to_csv(path.with_name(f"{stem}.csv"), index=False)
    parts = [text]
    if len(table.shots) > 1:
        save_curves(folder / "plots" / f"{stem}.png", table)
        parts += [f"![{table.measure.label} against shots](plots/{stem}.png)"]
    if reference is None:
        return parts
    if reference not in table.rows:
        return [*parts, f"{MARKDOWN.escape(reference)} is not run on this dataset, so nothing is tested against it."]
    comparisons = compare(results, table.dataset, table.metric, reference)
    comparison_frame(comparisons, table).to_csv(path.with_name(f"{stem}-tests.csv"), index=False)
    return [*parts, _tests(comparisons, table, reference)]


def _tests(comparisons: Sequence[Comparison], table: Table, reference: str) -> str:
    """Return the tests, what they find in a sentence and the numbers folded away."""
    found: dict[str, list[str]] = {"better": [], "worse": []}
    for one in comparisons:
        verdict = one.verdict(table.measure.lower_is_better)
        if verdict in found:
            at = "" if one.shots is None or len(table.shots) == 1 else f" ({shots_name(one.shots)})"
            found[verdict].append(f"{MARKDOWN.escape(one.method)}{at}")
    tested = sum(one.corrected is not None for one in comparisons)
    finds = "; ".join(f"{verdict}: {', '.join(names) or 'none'}" for verdict, names in found.items())
    against = MARKDOWN.escape(reference)
    summary = f"Against {against}, {tested} of {len(comparisons)} comparisons tested, corrected p < {LEVEL}: {finds}."
    # Within HTML there is no Markdown.
    details = f"<details><summary>All comparisons (method minus {html.escape(reference)})</summary>"
    return f"{summary}\n\n{details}\n\n{comparison_table(comparisons, table)}\n\n</details>"


def _code(text: str) -> str:
    """Return text as it is, in Markdown's fence for code; a fence is longer than any backticks inside."""
    fence = "`" * (1 + max((len(ticks) for ticks in re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"


def _stem(dataset: str) -> str:
    """Return what the names of a dataset's files begin with."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", dataset)
