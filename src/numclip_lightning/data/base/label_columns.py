"""The columns of a long list: a few arrays in place of an object for each image."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

from torch import Tensor

from numclip_lightning.data.base.label import Label

__all__ = ["Categories", "LabelColumns", "Strings"]


class Strings(Sequence[str]):
    """Texts in one array of bytes.

    Tensors, because torch hands them to spawned loading processes by shared memory, as forked ones share them anyway.

    Args:
        data: The bytes of all texts in UTF-8, (N,) uint8.
        offsets: Where each text starts, and where the last one ends, (n + 1,) int64.
    """

    def __init__(self, data: Tensor, offsets: Tensor) -> None:
        self._data, self._offsets = data, offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "Strings": ...
    def __getitem__(self, index: int | slice) -> "str | Strings":
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise ValueError("texts are cut without steps")
            return Strings(self._data, self._offsets[start : max(start, stop) + 1])
        index = range(len(self))[index]
        start, end = self._offsets[index : index + 2].tolist()
        return self._data[start:end].numpy().tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        # In parts: no second copy of the list.
        for first in range(0, len(self), 10_000):
            ends = self._offsets[first : first + 10_001].tolist()
            text = self._data[ends[0] : ends[-1]].numpy().tobytes()
            if text.isascii():
                plain, first_end = text.decode(), ends[0]
                yield from [plain[start - first_end : end - first_end] for start, end in pairwise(ends)]
            else:
                yield from [text[start - ends[0] : end - ends[0]].decode() for start, end in pairwise(ends)]


@dataclass(frozen=True)
class Categories:
    """A column of texts that repeat, such as groups.

    Attributes:
        codes: Which name each entry has, (n,) int32.
        names: The names.
    """

    codes: Tensor
    names: tuple[str, ...]

    def cut(self, index: slice) -> "Categories":
        """Return some entries."""
        return replace(self, codes=self.codes[index])


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelColumns(Sequence[Label]):
    """The entries of one list, by column; see `Label` for what they are.

    Attributes:
        source: The list.
        paths: The path of each image.
        first_line: The line of the first entry in `source`; the others follow without a gap.
        targets: (n,) float64; None if the list has no labels.
        groups: The group of each image; None without groups.
        spreads: (n,) float64; None if unknown.
        propensities: (n,) float64; None if unknown.
        attributes: A column for each name.
    """

    source: Path
    paths: Strings
    first_line: int
    targets: Tensor | None = None
    groups: Categories | None = None
    spreads: Tensor | None = None
    propensities: Tensor | None = None
    attributes: Mapping[str, Categories] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Label: ...
    @overload
    def __getitem__(self, index: slice) -> "LabelColumns": ...
    def __getitem__(self, index: int | slice) -> "Label | LabelColumns":
        if isinstance(index, int):
            index = range(len(self))[index]
            return next(self._labels(index, index + 1))
        start, stop, step = index.indices(len(self))
        if step != 1:
            raise ValueError("long lists are cut without steps")
        return self._cut(slice(start, max(start, stop)))

    def _cut(self, part: slice) -> "LabelColumns":
        numbers = ((name, getattr(self, name)) for name in ("targets", "spreads", "propensities"))
        changed: dict[str, Any] = {name: None if column is None else column[part] for name, column in numbers}
        return replace(
            self,
            paths=self.paths[part],
            first_line=self.first_line + part.start,
            groups=self.groups and self.groups.cut(part),
            attributes={name: column.cut(part) for name, column in self.attributes.items()},
            **changed,
        )

    def __iter__(self) -> Iterator[Label]:
        for first in range(0, len(self), 10_000):
            yield from self._labels(first, min(first + 10_000, len(self)))

    def _labels(self, start: int, end: int) -> Iterator[Label]:
        """Make the labels of a part; each column is turned into Python's values once."""

        def plain(column: Tensor | None) -> list[float] | list[None]:
            return [None] * (end - start) if column is None else column[start:end].tolist()

        groups = self.groups
        attributes = [(name, column, plain(column.codes)) for name, column in self.attributes.items()]
        codes = plain(groups.codes if groups else None)
        rows = zip(self.paths[start:end], plain(self.targets), codes, plain(self.spreads), plain(self.propensities),
                   strict=True)  # fmt: skip
        for place, (path, target, group, spread, propensity) in enumerate(rows):
            yield Label(
                path,
                () if target is None else (target,),
                groups.names[int(group)] if groups and group is not None else None,
                self.first_line + start + place,
                self.source,
                spread,
                propensity,
                tuple((name, column.names[int(codes[place] or 0)]) for name, column, codes in attributes),
            )
