"""Datamodule for your own CSV, TSV or text lists."""

from dataclasses import dataclass
from pathlib import Path

from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.labels import LabelTable, read_labels

__all__ = ["ListDataModule"]


@dataclass(kw_only=True, eq=False, repr=False)
class ListDataModule(FileDataModule):
    """Your own CSV, TSV or text lists: give `train_file` and `test_file`, and `val_file` if you have one.

    The other arguments are those of `FileDataModule`.

    Args:
        path_column: Column of the image paths; None finds it by its usual names, or reads a list without a header.
        target_column: Column of the targets; None finds it by its usual names, or reads a list without a header.
        group_column: Column of the groups that stay together when a validation part is set aside, such as the patient.
    """

    path_column: str | None = None
    target_column: str | None = None
    group_column: str | None = None

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read one list with the columns named."""
        return read_labels(
            file,
            path_column=self.path_column,
            target_column=self.target_column,
            group_column=self.group_column,
            labelled=labelled,
        )
