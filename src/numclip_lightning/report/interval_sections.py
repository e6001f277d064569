"""Section of a report: how many true numbers lie in the intervals of each method, overall, by level and by group."""

from pathlib import Path

import pandas as pd

from numclip_lightning.report.answers import read_answers
from numclip_lightning.report.counts import finished_runs
from numclip_lightning.report.coverage import coverage_table, has_intervals
from numclip_lightning.report.predictions import ATTRIBUTE
from numclip_lightning.report.spreadsheets import write_csv
from numclip_lightning.report.tables import MARKDOWN, markdown_grid
from numclip_lightning.report.trust import FEWEST

__all__ = ["interval_sections"]


def interval_sections(
    rows: pd.DataFrame,
    dataset: str,  # noqa: ARG001 (all sections of a dataset are called alike)
    shots: int,
    folder: Path,
    stem: str,
) -> list[str]:
    """Write the coverage of the intervals on a dataset, and return the section; none if no run has intervals.

    Args:
        rows: The rows of the dataset, see `results_frame`.
        dataset: Its name.
        shots: At how many shots.
        folder: The folder of the report. Every group of every run is in `tables/STEM-coverage.csv`.
        stem: The beginning of the names of the files.

    Raises:
        DataError: If the predictions of a finished run can't be used.
    """
    found = [table for run in finished_runs(rows, shots).to_dict("records") if (table := _coverage(run)) is not None]
    if not found:
        return []
    whole = pd.concat(found, ignore_index=True)
    write_csv(whole, folder / "tables" / f"{stem}-coverage.csv")
    levels = whole[whole["by"] == "true_phrase"]
    parts = ["### Intervals", markdown_grid(_overall(whole)), _NOTE]
    if len(levels):
        parts.append(f"<details><summary>Coverage by level</summary>\n\n{markdown_grid(_by(levels))}\n\n</details>")
    for name in whole["by"].unique():
        if name.startswith(ATTRIBUTE):
            table = markdown_grid(_by(whole[whole["by"] == name]))
            title = name.removeprefix(ATTRIBUTE)
            parts.append(f"<details><summary>Coverage by {title}</summary>\n\n{table}\n\n</details>")
    return parts


_NOTE = (
    "Intervals and sets were found on validation images, for the coverage that the runs asked for (90 % unless said "
    "otherwise); means over the runs of a method. The mean width is in the unit of the numbers: of two methods that "
    "cover as much, the narrower one knows more. Groups of fewer than "
    f"{FEWEST} test images in a run are left out."
)


def _coverage(run: dict[str, object]) -> pd.DataFrame | None:
    """Return the coverage of a run, overall and by each kind of group; None if it has no intervals."""
    frame = read_answers(Path(str(run["folder"]), "test_predictions.csv"), targets=True)
    if not has_intervals(frame):
        return None
    kinds = [None, *(name for name in frame if name == "true_phrase" or name.startswith(ATTRIBUTE))]
    tables = [coverage_table(frame, by, fewest=FEWEST if by else 1).assign(by=by or "all images") for by in kinds]
    facts = {name: run[name] for name in ("method", "fold", "shots", "seed")}
    return pd.concat(tables, ignore_index=True).assign(**facts)


def _overall(whole: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each method, in their order."""
    order = whole["method"].drop_duplicates()
    means = whole[whole["by"] == "all images"].groupby("method", sort=False, observed=True)[_NUMBERS].mean()
    levels = whole[whole["by"] == "true_phrase"].groupby(["method", "group"], sort=False, observed=True)["coverage"]
    worst = levels.mean().groupby("method", sort=False, observed=True).min()
    shown = pd.DataFrame(index=order)
    shown["Coverage"] = means["coverage"].map(_percent)
    shown["Least of a level"] = worst.reindex(order).map(_percent)
    shown["Mean width"] = means["width"].map("{:.4g}".format)
    shown["Set holds the phrase"] = means["set_coverage"].map(_percent)
    shown["Phrases in a set"] = means["set_size"].map(lambda size: "" if pd.isna(size) else f"{size:.2f}")
    return shown.rename(index=MARKDOWN.escape).rename_axis(index="Method").reset_index()


_NUMBERS = ["coverage", "width", "set_coverage", "set_size"]


def _by(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each method, a column for each group with its images in a run, on average."""
    images = rows.groupby("group", sort=False)["n"].mean()
    grid = rows.pivot_table(index="method", columns="group", values="coverage", sort=False, observed=True)
    shown = grid.map(_percent).rename(columns=lambda name: f"{MARKDOWN.escape(name)} (n {images[name]:.0f})")
    return shown.rename(index=MARKDOWN.escape).rename_axis(index="Method", columns=None).reset_index()


def _percent(share: float) -> str:
    return "" if pd.isna(share) else f"{100 * share:.1f} %"
