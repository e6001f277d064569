"""From runs to one self-contained HTML file."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from numclip_lightning.progress import watched
from numclip_lightning.report.html.corrupted import corruption_section
from numclip_lightning.report.html.elements import Section
from numclip_lightning.report.html.errors import (
    agreement_section,
    confusion_section,
    level_section,
    value_section,
)
from numclip_lightning.report.html.gallery import Loader, gallery_section
from numclip_lightning.report.html.made import made_section
from numclip_lightning.report.html.numbers import comparison_section, summary_section
from numclip_lightning.report.html.off_scale import off_scale_section
from numclip_lightning.report.html.people import group_section
from numclip_lightning.report.html.sure import coverage_section, distribution_section, selective_section
from numclip_lightning.report.html.trust import prototype_section, reliability_section
from numclip_lightning.report.html.writing import render, write_html
from numclip_lightning.report.reported import ReportedRun

__all__ = ["page_of", "write_page"]


def write_page(
    runs: Sequence[ReportedRun], output: Path, *, load: Loader | None, command: str, title: str = ""
) -> Path:
    """Write the report of runs.

    Args:
        runs: At least one.
        output: The file; its folder is created, an earlier file is replaced in one step.
        load: Where thumbnails come from; None shows none.
        command: The command that makes the page, which it names.
        title: Its heading; None takes the names of the runs.

    Returns:
        The file.
    """
    return write_html(page_of(runs, load=load, command=command, title=title), output)


def page_of(runs: Sequence[ReportedRun], *, load: Loader | None, command: str, title: str = "") -> str:
    """Return the report of runs as HTML; the arguments are those of `write_page`."""
    images = sum(len(run.frame) for run in runs)
    return render(
        title or ", ".join(run.name for run in runs),
        f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}, {images:,} predictions",
        _sections(runs, load, command),
        program="numclip report",
    )


def _sections(runs: Sequence[ReportedRun], load: Loader | None, command: str) -> list[Section]:
    """Make the sections one by one: intervals of many images, and the images themselves, take their time."""
    parts: list[Callable[[], Section]] = [
        partial(summary_section, runs),
        *([partial(comparison_section, runs)] if len(runs) > 1 else []),
        partial(agreement_section, runs),
        partial(value_section, runs),
        partial(level_section, runs),
        partial(confusion_section, runs),
        partial(reliability_section, runs),
        partial(distribution_section, runs),
        partial(coverage_section, runs),
        partial(selective_section, runs),
        partial(group_section, runs),
        partial(prototype_section, runs),
        partial(gallery_section, runs, load),
        partial(off_scale_section, runs, load),
        partial(corruption_section, runs),
        partial(made_section, runs, command),
    ]
    return [part() for part in watched(parts, len(parts), "writing the report", "section")]
