"""The section on corrupted images: how much larger the error is than on clean ones."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from numclip_lightning.report.corruptions import CORRUPTIONS, corruption_table
from numclip_lightning.report.html.elements import NOTHING, Cell, Element, Note, Section, Table, cell
from numclip_lightning.report.html.errors import sections_of
from numclip_lightning.report.reported import ReportedRun

__all__ = ["corruption_section"]

# A ratio of this colours a cell fully.
_WORST = 5.0


def corruption_section(runs: Sequence[ReportedRun]) -> Section:
    """Show the error on corrupted images over that on clean ones, by kind and strength."""

    def file_of(run: ReportedRun) -> Path | None:
        file = None if run.folder is None else run.folder / CORRUPTIONS
        return file if file is not None and file.is_file() else None

    def reason(run: ReportedRun) -> str:
        return (
            "" if file_of(run) else f"nothing was corrupted (`{CORRUPTIONS}`, which `numclip test --corrupt` writes)."
        )

    def show(run: ReportedRun) -> list[Element]:
        table = corruption_table(file_of(run) or "")
        columns = ["Corruption", *(f"Strength {name}" if name != "mean" else "Mean" for name in table.columns)]
        rows = [[Cell(str(kind)), *(_ratio(number) for number in row)] for kind, row in table.iterrows()]
        note = (
            "Noise, blur and the like on the resized images. A corruption that hides the thing itself, such as blur "
            "for counts, measures the data and not the model."
        )
        return [Table("MAE over that of clean images; 1 is no loss", columns, rows, sortable=False), Note(note)]

    lead = "By how much does the error grow when images are worse than those that were tested?"
    parts, missing = sections_of(runs, show, reason)
    return Section("corruptions", "What if the images are worse?", lead, parts, missing)


def _ratio(number: float) -> Cell:
    if pd.isna(number):
        return NOTHING
    shown = cell(float(number), 2)
    return Cell(shown.text, shown.sort, min(1.0, max(0.0, (float(number) - 1) / (_WORST - 1))))
