"""Label files of many dialects, read into one table of (path, targets, group).

The dialects are those of the public lists of Image Aesthetics, Historical Color Images, MORPH II, Adience and the
OrdinalCLIP code, and those that Excel, pandas, R and Hugging Face write: separated by tabs, commas, semicolons,
vertical bars or whitespace, or JSON lines; with a header or none; one label a line or several; `3`, `3.0`, `3,5`
where commas are decimal, or `1930s`; UTF-8 with or without a byte-order mark; any line ending. Excel workbooks and
Parquet files are read with the extra `lists`.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import overload

from numclip_lightning.data.base.columns import AskedColumns
from numclip_lightning.data.base.dialects import Row, read_rows
from numclip_lightning.data.base.label import Label
from numclip_lightning.data.base.label_columns import LabelColumns
from numclip_lightning.data.base.long_lists import read_columns
from numclip_lightning.data.base.parsing import parse_propensity, parse_spread, parse_target
from numclip_lightning.data.base.paths import LONGEST_PATH, path_key
from numclip_lightning.errors import DataError, format_number, shown

__all__ = [
    "Label",
    "LabelTable",
    "read_labels",
    "unlabelled",
    "without_repeats",
]

_log = logging.getLogger(__name__)


class LabelTable(Sequence[Label]):
    """Labels of one split, in order. Each label knows its own file and line, so tables can be joined.

    Long lists are kept as columns, and a label is made when it is asked for.

    Args:
        labels: The labels, or a long list's columns.

    Example:
        >>> table = LabelTable([Label(path="a.jpg", targets=(31.0,), group=None, line=1, source=Path("list.txt"))])
        >>> len(table), table.targets
        (1, (31.0,))
        >>> table[0].where
        'list.txt:1'
    """

    def __init__(self, labels: Iterable[Label]) -> None:
        self._labels: tuple[Label, ...] | LabelColumns = labels if isinstance(labels, LabelColumns) else tuple(labels)

    @overload
    def __getitem__(self, index: int) -> Label: ...
    @overload
    def __getitem__(self, index: slice) -> "LabelTable": ...
    def __getitem__(self, index: int | slice) -> "Label | LabelTable":
        return LabelTable(self._labels[index]) if isinstance(index, slice) else self._labels[index]

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[Label]:
        return iter(self._labels)

    @property
    def columns(self) -> LabelColumns | None:
        """The columns of a long list; None if the labels are kept one by one."""
        return self._labels if isinstance(self._labels, LabelColumns) else None

    @property
    def has_spread(self) -> bool:
        """Whether the spread of any target is known."""
        if self.columns:
            return self.columns.spreads is not None
        return any(label.spread is not None for label in self._labels)

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files the labels come from, each once, in order."""
        if self.columns:
            return (self.columns.source,)
        return tuple(dict.fromkeys(label.source for label in self._labels))

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of the attributes that any image has, each once, in order."""
        if self.columns:
            return tuple(self.columns.attributes)
        return tuple(dict.fromkeys(name for label in self._labels for name, _ in label.attributes))

    @property
    def targets(self) -> tuple[float, ...]:
        """One target for each image (see `Label.target`); unlabelled images are left out."""
        if self.columns:
            return () if self.columns.targets is None else tuple(self.columns.targets.tolist())
        return tuple(label.target for label in self._labels if label.targets)


def read_labels(
    source: str | Path,
    *,
    path_column: str | None = None,
    target_column: str | None = None,
    group_column: str | None = None,
    spread_column: str | None = None,
    propensity_column: str | None = None,
    labelled: bool = True,
    optional: tuple[str, ...] = (),
    attributes: Sequence[str] = (),
    join: Callable[[Sequence[Label]], LabelTable] | None = None,
) -> LabelTable:
    r"""Read a label file of any dialect.

    Without a header, a line is the path and then its label or labels; numbers before the path are an index and are
    skipped. With a header, the columns are found by name, or as the only one left; one called `spread` or `stdv` is the
    spread of each target.
    Blank lines are skipped. A path that is listed twice with the same label counts once, and a warning is logged.

    Args:
        source: The label file.
        path_column: Column of the image paths; None finds it by its usual names (path, filename, image, ...).
        target_column: Column of the labels; None finds it by its usual names (target, label, age, score, ...).
        group_column: Column of what must stay together in a split; None for no groups.
        spread_column: Column of the standard deviation of each target; None finds it by its usual names (spread, stdv),
            `"none"` leaves it out.
        propensity_column: Column of the probability of each image to be labelled; None for none.
        labelled: Whether every entry needs a label. If False, either all entries have one or none has.
        optional: Of `"group"`, `"spread"`, `"propensity"` and `"attributes"`, what a list may lack though it is named.
        attributes: Columns of what else is known of each image.
        join: What makes one entry of each image, where one may have several; None refuses entries that differ.

    Returns:
        The labels in the order of the file.

    Raises:
        DataError: If the file is missing, empty or not UTF-8 text, a column can't be found, a label isn't a finite
            number, or a path has two different labels.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "list.csv")
        ...     _ = file.write_text("path,age,person\na.jpg,31,p1\nb.jpg,4,p2\n")
        ...     table = read_labels(file, group_column="person")
        >>> [(label.path, label.target, label.group) for label in table]
        [('a.jpg', 31.0, 'p1'), ('b.jpg', 4.0, 'p2')]
    """
    source = Path(source)
    asked = AskedColumns(
        path_column, target_column, group_column, spread_column, propensity_column, optional, tuple(attributes)
    )
    if join is None and (columns := read_columns(source, asked, labelled=labelled)) is not None:
        return LabelTable(columns)
    rows = read_rows(source, asked, labelled=labelled)
    labels = [_to_label(row, source, labelled=labelled) for row in rows]
    if any(label.targets for label in labels):
        for label in labels:
            if not label.targets:
                raise DataError(f"{label.where}: {label.path!r} has no label, but other lines have: label all or none")
    if join is not None:
        return join(labels)
    if several := [label for label in labels if len(label.targets) > 1]:
        # A warning, because a table that lost its header looks the same: age, sex and race are not three ages.
        _log.warning(
            "%s: %d entries have several labels, first line %d, %r with %s; training draws one of them, evaluation "
            "takes the middle one; if they are other columns, add a header line",
            source, len(several), several[0].line, several[0].path, _describe(several[0]),
        )  # fmt: skip
    if group_column is not None:
        _warn_of_no_group(labels, source, group_column, optional="group" in optional)
    return without_repeats(labels, source)


def _to_label(row: Row, source: Path, *, labelled: bool) -> Label:
    where = f"{source}:{row.line}"
    if not row.path:
        raise DataError(f"{where}: the image path is empty")
    if len(row.path) > LONGEST_PATH:
        raise DataError(
            f"{where}: the image path has {len(row.path):,} characters, more than a system can open "
            f"({LONGEST_PATH:,}): {shown(row.path, 40)}; look for separators or line ends that are lost"
        )
    if labelled and not row.tokens:
        raise DataError(f"{where}: no label after '{shown(row.path)}'; expected a label such as 31, 3.0 or 1930s")
    targets = tuple(parse_target(token, where) for token in row.tokens)
    spread = None if row.spread is None else parse_spread(row.spread, where)
    propensity = None if row.propensity is None else parse_propensity(row.propensity, where)
    return Label(
        path=row.path, targets=targets, group=row.group, line=row.line, source=source, spread=spread,
        propensity=propensity, attributes=row.attributes,
    )  # fmt: skip


def _warn_of_no_group(labels: Sequence[Label], source: Path, column: str, *, optional: bool) -> None:
    lone = [label for label in labels if label.group is None]
    if not lone or (optional and len(lone) == len(labels)):
        # The list has the column, or may do without it.
        return
    _log.warning(
        "%s: %d of %d entries have no group in the column %r, first line %d; each counts as a group of its own",
        source, len(lone), len(labels), column, lone[0].line,
    )  # fmt: skip


def without_repeats(labels: Sequence[Label], source: Path) -> LabelTable:
    """Drop repeated entries of a list; several boxes of one image are several entries.

    Raises:
        DataError: If two entries of one path contradict each other.
    """
    first: dict[tuple[str, object], Label] = {}
    for label in labels:
        known = first.setdefault((path_key(label.path), label.box), label)
        if _known(known) != _known(label):
            raters = known.targets != label.targets
            raise DataError(
                f"{label.where}: {label.path!r} is labelled {_describe(label)}, but line {known.line} labels it "
                f"{_describe(known)}; remove one of the two lines"
                + (", or if several people have labelled a list of your own, set data.repeats=votes" if raters else "")
            )
    if repeats := len(labels) - len(first):
        _log.warning("%s: %d repeated entries are used once", source, repeats)
    return LabelTable(first.values())


def _known(label: Label) -> tuple[object, ...]:
    return label.targets, label.group, label.spread, label.propensity, label.attributes, label.votes, label.weight


def _describe(label: Label) -> str:
    targets = " ".join(map(format_number, label.targets))
    spread = "" if label.spread is None else f" (spread {format_number(label.spread)})"
    propensity = "" if label.propensity is None else f" (propensity {format_number(label.propensity)})"
    group = f" (group {label.group!r})" if label.group else ""
    return targets + spread + propensity + group + "".join(f" ({name} {value!r})" for name, value in label.attributes)


def unlabelled(table: LabelTable) -> LabelTable:
    """Drop the labels: images to predict may have targets outside the scale, which are not needed."""
    if table.columns:
        return LabelTable(replace(table.columns, targets=None, spreads=None, propensities=None))
    return LabelTable(
        replace(label, targets=(), spread=None, propensity=None, votes=None, weight=None) for label in table
    )
