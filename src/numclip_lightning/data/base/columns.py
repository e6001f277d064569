"""The columns of a table with a header: by the names asked for, or by the usual ones."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from numclip_lightning.data.base.lines import Table
from numclip_lightning.data.base.tables import IMAGE_END
from numclip_lightning.errors import DataError, near_matches

__all__ = ["NO_COLUMN", "AskedColumns", "Columns", "find_columns", "listed", "names_images"]

# fmt: off
# Names are compared in lower case, with `_` for blanks, dots, dashes and slashes.
PATH_COLUMNS = frozenset({
    "path", "file", "filename", "file_name", "filepath", "file_path",
    "id_code", "image", "images", "image_file", "image_name", "image_path", "img", "img_path",
})
# Taken where no column has a usual name, and none alone has images in it.
_ID_COLUMNS = frozenset({"id", "image_id", "img_id", "img_name", "name", "photo", "photo_id", "picture"})
TARGET_COLUMNS = frozenset({
    "age", "count", "decade", "diagnosis", "grade", "label", "level", "rating", "score", "target", "value", "year",
})
# Standard deviation of the votes whose mean is the target.
SPREAD_COLUMNS = frozenset({"spread", "stdv"})
# fmt: on
_UNNAMED = re.compile(r"(?:unnamed: \d+)?", re.IGNORECASE)
NO_COLUMN = "none"
"""Given as `spread_column`, leaves every column out."""


@dataclass(frozen=True)
class AskedColumns:
    """Columns that are asked for by name; None finds a column by its usual names, and no groups.

    Those in `optional` need not be there; `"attributes"` in it stands for all of `attributes`.
    """

    path: str | None = None
    target: str | None = None
    group: str | None = None
    spread: str | None = None
    propensity: str | None = None
    optional: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()

    def needed(self, what: str, names: Sequence[str], *, labelled: bool) -> str | None:
        """Return the name asked for, or None if a list whose columns are `names` may do without it."""
        name: str | None = getattr(self, what)
        return name if name in names or (labelled and what not in self.optional) else None


class Columns(NamedTuple):
    """Number of columns, and the index of each kind of column."""

    total: int
    path: int
    target: int | None
    group: int | None
    spread: int | None
    propensity: int | None
    attributes: tuple[tuple[str, int], ...] = ()


def find_columns(source: Path, table: Table, asked: AskedColumns, *, labelled: bool) -> Columns:
    """Find the columns of a table with a header; see `labels.read_labels` for the arguments.

    Raises:
        DataError: If a column is missing, or several could be meant.
    """
    names, first = table.lines[0].fields, table.lines[1].fields
    path = _find_path(source, names, first, asked.path)
    target_name = asked.needed("target", names, labelled=labelled)
    # Where labels aren't asked for, a column that only looks like one (a rating in words) is none.
    usual = TARGET_COLUMNS if labelled else frozenset[str]()
    target = _find_column(source, names, "target_column", target_name, usual, certain=labelled)
    if path is None:
        others = [i for i, name in enumerate(names) if i != target and not _UNNAMED.fullmatch(name)]
        path = others[0] if len(others) == 1 and (target is not None or not labelled) else None
    if path is None:
        raise DataError(f"{source}: can't tell the path column; the columns are {listed(names)}; {_fix('path')}")
    group_name = asked.needed("group", names, labelled=labelled)
    group = _find_column(source, names, "group_column", group_name, frozenset())
    propensity_name = asked.needed("propensity", names, labelled=labelled)
    propensity = _find_column(source, names, "propensity_column", propensity_name, frozenset())
    attributes = _find_attributes(source, names, asked, labelled=labelled)
    if target is None and labelled:
        taken = (path, group, propensity, *(place for _, place in attributes))
        others = [i for i, name in enumerate(names) if i not in taken and not _UNNAMED.fullmatch(name)]
        target = others[0] if len(others) == 1 else None
    if target is None and labelled:
        raise DataError(f"{source}: can't tell the target column; the columns are {listed(names)}; {_fix('target')}")
    spread = None
    if target is not None and asked.spread != NO_COLUMN:
        spread_name = asked.needed("spread", names, labelled=labelled)
        certain = names[target].lower() not in SPREAD_COLUMNS
        spread = _find_column(source, names, "spread_column", spread_name, SPREAD_COLUMNS, certain=certain)
    return Columns(len(names), path, target, group, None if spread == target else spread, propensity, attributes)


def _find_attributes(
    source: Path, names: list[str], asked: AskedColumns, *, labelled: bool
) -> tuple[tuple[str, int], ...]:
    """Return each attribute with its column; those that a list may do without and lacks are left out."""
    optional = "attributes" in asked.optional or not labelled
    known = [name for name in asked.attributes if name in names or not optional]
    places = [(name, _find_column(source, names, "attributes", name, frozenset())) for name in known]
    return tuple((name, place) for name, place in places if place is not None)


def names_images(name: str) -> bool:
    """Return whether a column's name says that it has paths or ids of images."""
    return _plain(name) in PATH_COLUMNS | _ID_COLUMNS


def _plain(name: str) -> str:
    return re.sub(r"[\s.\-/]+", "_", name.lower())


def _find_path(source: Path, names: list[str], first: list[str], asked: str | None) -> int | None:
    """Return the column of the images; None if neither its name nor the first entry tells."""
    path = _find_column(source, names, "path_column", asked, PATH_COLUMNS)
    if path is None:
        images = [i for i, field in enumerate(first[: len(names)]) if re.search(IMAGE_END + "$", field)]
        path = images[0] if len(images) == 1 else None
    return _find_column(source, names, "path_column", None, _ID_COLUMNS, certain=False) if path is None else path


def _find_column(
    source: Path, names: list[str], argument: str, name: str | None, usual: frozenset[str], *, certain: bool = True
) -> int | None:
    """Return the index of the named column, or of the only one with a usual name; None if there is none."""
    if name is not None and name not in names:
        hint = near_matches(name, names)
        raise DataError(f"{source} has no column {argument}={name!r}{hint}; the columns are {listed(names)}")
    found = [i for i, other in enumerate(names) if (_plain(other) in usual if name is None else other == name)]
    if len(found) > 1 and certain:
        what = argument.removesuffix("_column")
        fix = _fix(what) if name is None else "rename one of them"
        raise DataError(f"{source}: {listed([names[i] for i in found])} could each be the {what} column; {fix}")
    return found[0] if len(found) == 1 else None


def _fix(what: str) -> str:
    """What works for all data: most datamodules have no argument for a column."""
    return f"rename it to {what!r}, or, with ListDataModule, set data.{what}_column"


def listed(names: Sequence[str]) -> str:
    """Return the names of columns for a message."""
    return ", ".join(map(repr, names))
