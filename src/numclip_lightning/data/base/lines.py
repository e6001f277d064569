"""What a list is once it is split: lines of fields."""

from typing import NamedTuple

__all__ = ["Line", "Table"]


class Line(NamedTuple):
    """One line of a list that isn't blank; a quoted line break makes several lines of the file one."""

    number: int
    text: str
    fields: list[str]


class Table(NamedTuple):
    """A list, split.

    Attributes:
        lines: Its lines, at least one.
        delimiter: What separates fields; None for any whitespace.
        has_header: Whether the first line surely names the columns, as JSON does.
    """

    lines: list[Line]
    delimiter: str | None
    has_header: bool = False
