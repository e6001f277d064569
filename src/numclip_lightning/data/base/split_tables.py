"""The base of datasets that are one table, which says of each image which split it is in."""

import logging
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from numclip_lightning.data.base.dialects import Record, read_records
from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.labels import Label, LabelTable, without_repeats
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import DataError

__all__ = ["SplitTableDataModule"]

_log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False, repr=False)
class SplitTableDataModule(FileDataModule):
    """Images of one table with a column of splits; if any list file is given, only the list files count.

    A dataset names its table and its columns, and makes labels of its lines (`label_of`). The other arguments are those
    of `FileDataModule`.

    Attributes:
        table: The file name of the table.
        folders: Folders below `root` that the table is searched for in, after `root` itself.
        columns: The columns that it needs beside that of the splits, in lower case.
        split_column: The column of the splits.
        split_words: The split that each word of this column means.
    """

    table: ClassVar[str] = ""
    folders: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]]
    split_column: ClassVar[str] = "split"
    split_words: ClassVar[Mapping[str, Split]] = {"train": "train", "val": "val", "test": "test"}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._parts: dict[Split, LabelTable] | None = None

    @property
    def table_name(self) -> str:
        """The file name of the table."""
        return self.table

    @abstractmethod
    def label_of(self, record: Record, source: Path) -> Label | None:
        """Return the label of a line, or None for an image that the protocol leaves out.

        Raises:
            DataError: If the line is bad; the message names the file and the line.
        """

    def split_of(self, word: str, where: str) -> Split | None:
        """Return the split that a word of the column means, or None for an image that the protocol leaves out.

        Raises:
            DataError: If it is no split.
        """
        if word not in self.split_words:
            raise DataError(
                f"{where}: {self.split_column} {word!r} is not a split; expected one of {', '.join(self.split_words)}"
            )
        return self.split_words[word]

    def published(self, split: Split) -> LabelTable | None:
        """Return the images of a split; None if a list file is given or the table is missing."""
        if split == "predict" or self.lists_given:
            return None
        if self._parts is None:
            # Read once: all splits are in it, and reading may log warnings.
            source = self.search(self.table_name, *self.folders)
            self._parts = self._read(source) if source else {}
        return self._parts.get(split)

    def expected(self, split: Split) -> str:
        """Name the table."""
        folders = " or ".join(map(repr, self.folders))
        return f"put {self.table_name} into {self.root!r}" + (f" or its folder {folders}" if folders else "")

    def _read(self, source: Path) -> dict[Split, LabelTable]:
        records = read_records(source, (*self.columns, self.split_column))
        labels: dict[Split, list[Label]] = {"train": [], "val": [], "test": []}
        first: dict[object, str] = {}
        for record in records:
            where, word = f"{source}:{record.line}", record.fields[self.split_column]
            split, label = self.split_of(word, where), self.label_of(record, source)
            if label is None:
                continue
            if (other := first.setdefault((path_key(label.path), label.box), word)) != word:
                raise DataError(
                    f"{where}: {label.path!r} is in the split {word!r}, but an earlier line has it in {other!r}; "
                    "remove one of the two lines"
                )
            if split is not None:
                labels[split].append(label)
        if left_out := len(records) - sum(map(len, labels.values())):
            _log.info("%s: %d of %d images are in no split of the protocol", source, left_out, len(records))
        return {split: without_repeats(own, source) for split, own in labels.items()}
