"""Section of a benchmark's report: for whom each method is worse, by the attributes that the predictions have."""

from pathlib import Path

import numpy as np
import pandas as pd

from numclip_lightning.report.counts import finished_runs
from numclip_lightning.report.groups import FEWEST, Gap, GroupTable, Number, compare_groups, values_of
from numclip_lightning.report.predictions import ATTRIBUTE, read_predictions
from numclip_lightning.report.reported import ReportedRun
from numclip_lightning.report.spreadsheets import write_csv
from numclip_lightning.report.tables import MARKDOWN, markdown_grid

__all__ = ["group_sections"]

_NOTE = (
    "Mean absolute error of each group, in the unit of the target, with the 95 % interval of a bootstrap that draws "
    "whole groups of images (patients) where the list has them, else images, each with all its runs. The gap is that "
    "of the worst and the best group, its interval widened for the choice among all pairs. At equal targets each group "
    "is weighed as if its true levels were spread as those of all groups together (direct standardisation). A gap is "
    f"no cause. Values with fewer than {FEWEST} test images in a run are left out"
)


def group_sections(
    rows: pd.DataFrame,
    dataset: str,
    shots: int,
    folder: Path,
    stem: str,
) -> list[str]:
    """Write the errors by attribute on a dataset, and return the section; none if no run has attributes.

    Args:
        rows: The rows of the dataset, see `results_frame`.
        dataset: Its name.
        shots: At how many shots.
        folder: The folder of the report. Every number is in `tables/STEM-groups.csv`.
        stem: The beginning of the names of the files.

    Raises:
        DataError: If the predictions of a finished run can't be used.
    """
    runs = finished_runs(rows, shots)
    frames: dict[str, list[pd.DataFrame]] = {}
    for run in runs.to_dict("records"):
        frames.setdefault(str(run["method"]), []).append(read_predictions(run))
    names = dict.fromkeys(
        name for found in frames.values() for frame in found for name in frame if name.startswith(ATTRIBUTE)
    )
    parts, written = [], []
    for attribute in names:
        compared = {
            method: table
            for method, found in frames.items()
            if all(attribute in frame for frame in found) and (table := _compare(found, attribute)).groups
        }
        left_out = dict.fromkeys(name for table in compared.values() for name, _ in table.left_out)
        if compared:
            title = attribute.removeprefix(ATTRIBUTE)
            parts += [f"#### {MARKDOWN.escape(f'{dataset} by {title}')}", markdown_grid(_grid(compared, frames))]
            lost = f": {MARKDOWN.escape(', '.join(left_out))}" if left_out else ""
            parts.append(f"{_NOTE}{lost}.")
            written += [_numbers(method, table) for method, table in compared.items()]
    if not parts:
        return []
    write_csv(pd.concat(written, ignore_index=True), folder / "tables" / f"{stem}-groups.csv")
    return ["### Error by group", *parts]


def _compare(found: list[pd.DataFrame], attribute: str) -> GroupTable:
    """Compare the groups over all runs of a method; an image that several runs have read is drawn with all of them."""
    pooled = pd.concat(found, ignore_index=True)
    own = "image " + pooled["path"]
    pooled["group"] = pooled["group"].where(pooled["group"] != "", own) if "group" in pooled else own
    # A value is as large as it is in a run.
    counts = values_of(pooled[attribute]).map(values_of(pooled[attribute]).value_counts()) / len(found)
    small = (counts < FEWEST) & (counts * len(found) >= FEWEST)
    run = ReportedRun(name="", file=Path(), folder=None, frame=pooled[~small].reset_index(drop=True))
    table = compare_groups(run, attribute)
    lost = [(str(name), 0) for name in values_of(pooled[attribute])[small].unique()]
    return GroupTable(**{**vars(table), "left_out": [*table.left_out, *lost]})


def _grid(compared: dict[str, GroupTable], frames: dict[str, list[pd.DataFrame]]) -> pd.DataFrame:
    lines = []
    for method, table in compared.items():
        line = {"Method": MARKDOWN.escape(method)}
        for group in table.groups:
            images = group.images / len(frames[method])
            line[f"{MARKDOWN.escape(group.name)} (n {images:.0f})"] = _text(group.mae)
        lines.append({**line, "Gap": _gap(table.gap), "Gap at equal targets": _gap(table.gap_at_equal)})
    grid = pd.DataFrame(lines).fillna("")
    last = ["Gap", "Gap at equal targets"]
    return grid[[name for name in grid if name not in last] + last]


def _text(number: Number) -> str:
    interval = f" ({number.low:z.2f} to {number.high:z.2f})" if np.isfinite(number.low) else ""
    return f"{number.value:z.2f}{interval}"


def _gap(gap: Gap | None) -> str:
    return "" if gap is None else f"{_text(gap.difference)}, worst {MARKDOWN.escape(gap.worst)}"


def _numbers(method: str, table: GroupTable) -> pd.DataFrame:
    """Return every number of a comparison as a row."""
    kinds = ("mae", "bias", "mae_at_equal", "bias_at_equal", "coverage")
    found = [
        {
            "method": method, "attribute": table.attribute, "value": group.name, "images": group.images,
            "groups": group.units, "metric": kind, "number": number.value, "low": number.low, "high": number.high,
        }
        for group in table.groups
        for kind in kinds
        if (number := getattr(group, kind)) is not None
    ]  # fmt: skip
    return pd.DataFrame(found)
