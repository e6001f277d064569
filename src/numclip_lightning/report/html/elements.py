"""What a section of the page is made of; the template knows how each is shown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup, escape

__all__ = [
    "NOTHING",
    "Cell",
    "Element",
    "Figure",
    "Gallery",
    "Note",
    "Picture",
    "Section",
    "Table",
    "cell",
    "percent",
    "unit_of",
    "with_code",
]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What is shown.
        sort: What rows are sorted by: a number, or the text itself where None.
        share: How strongly it is coloured, 0..1.
    """

    text: str
    sort: float | None = None
    share: float = 0.0

    @property
    def order(self) -> str:
        """What the page sorts by."""
        if self.sort is None:
            return self.text
        return "" if math.isnan(self.sort) else f"{self.sort:.12g}"


NOTHING = Cell("–", math.nan)  # noqa: RUF001
"""Where there is no number."""


@dataclass(frozen=True)
class Note:
    """A paragraph."""

    kind: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True)
class Table:
    """A table with a heading for each column; the first cell of a row is its name.

    Attributes:
        caption: What it shows.
        columns: The headings.
        rows: A cell for each column.
        sortable: Whether its columns can be sorted; a confusion matrix has its order.
        folded: Whether it is behind a heading that opens it.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    sortable: bool = True
    folded: bool = False


@dataclass(frozen=True)
class Figure:
    """A drawing, and what it shows in words for those who don't see it."""

    kind: ClassVar[str] = "figure"
    svg: Markup
    caption: str


@dataclass(frozen=True)
class Picture:
    """A small image of the data.

    Attributes:
        source: A data URI; empty where there is no image to show.
        path: The image's path as the list has it.
        text: What it was read as.
        heat: Its map as a data URI; empty without one.
        heat_text: What its places are read as.
    """

    source: str
    path: str
    text: str
    heat: str = ""
    heat_text: str = ""


@dataclass(frozen=True)
class Gallery:
    """Images beside each other."""

    kind: ClassVar[str] = "gallery"
    caption: str
    pictures: Sequence[Picture]


Element = Note | Table | Figure | Gallery


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        key: Its place in the address of the page.
        title: Its heading.
        lead: What it answers, in a sentence or two.
        parts: For each run (or once, with an empty name) what is shown; side by side on wide screens.
        missing: Why there is nothing to show; empty otherwise.
        wide: Whether it takes the whole width, its parts below each other, also on wide screens.
    """

    key: str
    title: str
    lead: str
    parts: Sequence[tuple[str, Sequence[Element]]] = field(default_factory=tuple)
    missing: str = ""
    wide: bool = False


def cell(number: float, digits: int = 2, low: float = math.nan, high: float = math.nan, factor: float = 1) -> Cell:
    """Return a number as a cell, with its interval in brackets where it has one; a dash for none."""
    if not math.isfinite(number):
        return NOTHING
    text = f"{factor * number:z.{digits}f}"
    if math.isfinite(low) and math.isfinite(high):
        text += f" ({factor * low:z.{digits}f} to {factor * high:z.{digits}f})"
    return Cell(text, factor * number)


def percent(share: float) -> str:
    """Return a share of 0 to 1 in words: `"84 %"`."""
    return f"{100 * share:.0f} %"


def unit_of(unit: str) -> str:
    """Return a unit as it stands in brackets behind a name; nothing without one."""
    return f" ({unit})" if unit else ""


def with_code(text: str) -> Markup:
    """Return a text as HTML; what stands between backticks is code."""
    parts = text.split("`")
    marked = [
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    ]
    return Markup("").join(marked) if len(parts) % 2 else escape(text)
