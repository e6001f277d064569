"""From runs to one self-contained HTML file."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from numclip_lightning.report.html.elements import Section, with_code
from numclip_lightning.report.html.errors import (
    agreement_section,
    confusion_section,
    level_section,
    value_section,
)
from numclip_lightning.report.html.gallery import Loader, gallery_section
from numclip_lightning.report.html.made import made_section
from numclip_lightning.report.html.numbers import comparison_section, summary_section
from numclip_lightning.report.html.people import group_section
from numclip_lightning.report.html.sure import coverage_section, distribution_section, selective_section
from numclip_lightning.report.html.trust import off_scale_section, prototype_section, reliability_section
from numclip_lightning.report.reported import ReportedRun

__all__ = ["page_of", "write_page"]

_TEMPLATES = Path(__file__).parent / "templates"


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
    text = page_of(runs, load=load, command=command, title=title)
    output.parent.mkdir(parents=True, exist_ok=True)
    whole = output.with_name(f"{output.name}.whole")
    # Names of files that are not UTF-8 are shown with a mark in place of what no page can hold.
    whole.write_bytes(text.encode("utf-8", errors="replace"))
    whole.replace(output)
    return output


def page_of(runs: Sequence[ReportedRun], *, load: Loader | None, command: str, title: str = "") -> str:
    """Return the report of runs as HTML; the arguments are those of `write_page`."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["code"] = with_code
    sections = _sections(runs, load, command)
    return environment.get_template("report.html").render(
        title=title or ", ".join(run.name for run in runs),
        sections=[section for section in sections if not section.missing],
        missing=[section for section in sections if section.missing],
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        images=sum(len(run.frame) for run in runs),
        runs=runs,
    )


def _sections(runs: Sequence[ReportedRun], load: Loader | None, command: str) -> list[Section]:
    return [
        summary_section(runs),
        *([comparison_section(runs)] if len(runs) > 1 else []),
        agreement_section(runs),
        value_section(runs),
        level_section(runs),
        confusion_section(runs),
        reliability_section(runs),
        distribution_section(runs),
        coverage_section(runs),
        selective_section(runs),
        group_section(runs),
        prototype_section(runs),
        gallery_section(runs, load),
        off_scale_section(runs),
        made_section(runs, command),
    ]
