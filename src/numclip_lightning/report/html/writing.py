"""From sections to one self-contained HTML file."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from numclip_lightning.report.html.elements import Section, with_code

__all__ = ["render", "write_html"]

_TEMPLATES = Path(__file__).parent / "templates"


def render(title: str, about: str, sections: Sequence[Section], *, program: str) -> str:
    """Return a page.

    Args:
        title: Its heading.
        about: What it is about, in a few words below the heading.
        sections: Its parts in order; those that say why they are missing are listed at the end.
        program: What made it, for the title of the window.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["code"] = with_code
    return environment.get_template("report.html").render(
        title=title,
        about=about,
        sections=[section for section in sections if not section.missing],
        missing=[section for section in sections if section.missing],
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        program=program,
    )


def write_html(text: str, output: Path) -> Path:
    """Write a page in one step, in place of an earlier one; its folder is created."""
    output.parent.mkdir(parents=True, exist_ok=True)
    whole = output.with_name(f"{output.name}.whole")
    # Names of files that are not UTF-8 are shown with a mark in place of what no page can hold.
    whole.write_bytes(text.encode("utf-8", errors="replace"))
    whole.replace(output)
    return output
