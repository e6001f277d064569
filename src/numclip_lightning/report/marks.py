"""Puts a report into a page of documentation, between two marks; the words around them are kept."""

import re
import shutil
from pathlib import Path

from numclip_lightning.errors import DataError

__all__ = ["check_page", "update_page"]

_BEGIN, _END = "<!-- report -->", "<!-- end of report -->"


def check_page(page: Path) -> None:
    """Refuse a page without the two marks; call it before the first run.

    Args:
        page: A Markdown file.

    Raises:
        DataError: If the file is missing, or doesn't have both marks once, in this order.
    """
    _split(page)


def update_page(page: Path, report: Path) -> None:
    """Put a report between the marks of a page, and its pictures into a folder of the page's name beside it.

    The report's own title is left out, since the page has one. The text around the marks is kept, and so is everything
    in that folder except the pictures of the earlier report.

    Args:
        page: A Markdown file with the lines `<!-- report -->` and `<!-- end of report -->`.
        report: A `report.md` as `write_report` writes it, with `plots/` beside it.

    Raises:
        DataError: As `check_page`.
    """
    before, old, after = _split(page)
    pictures = page.with_suffix("")
    for name in re.findall(rf"\]\({re.escape(pictures.name)}/([^/)]+)\)", old):
        (pictures / name).unlink(missing_ok=True)
    # If no run has finished there are none.
    for picture in (report.parent / "plots").glob("*.png"):
        pictures.mkdir(exist_ok=True)
        shutil.copy(picture, pictures)
    text = re.sub(r"\A# .*\n", "", report.read_text(encoding="utf-8"))
    text = text.replace("](plots/", f"]({pictures.name}/")
    new = page.with_name(f"{page.name}.new")
    new.write_text(f"{before}{_BEGIN}\n\n{text.strip()}\n\n{_END}{after}", encoding="utf-8")
    new.replace(page)


def _split(page: Path) -> tuple[str, str, str]:
    """Return the text before, between and after the marks."""
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"page {page} can't be read: {error.strerror}.") from error
    before, begin, rest = text.partition(_BEGIN)
    between, end, after = rest.partition(_END)
    if not (begin and end) or _BEGIN in rest or _END in before + after:
        raise DataError(f"page {page} needs the lines {_BEGIN} and {_END} once each, in this order; add them.")
    return before, between, after
