"""Anybody's own list of images and numbers."""

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
        path_column: Column of the image paths; None finds it by its usual names, or reads a list without header.
        target_column: Column of the targets; None finds it by its usual names, or reads a list without header.
        group_column: Column of what must stay together, such as the patient: parts are drawn by whole groups, and lists
            that share a group are refused (see `shared_groups`). A list without the column has no groups.
        spread_column: Column of the standard deviation of each target's votes; None finds it by its usual names
            (`spread`, `stdv`), `none` leaves it out.
    """

    path_column: str | None = None
    target_column: str | None = None
    group_column: str | None = None
    spread_column: str | None = None

    @property
    def groups_given(self) -> bool:
        """Whether a column of groups is named."""
        return self.group_column is not None

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read one list with the columns named: groups must be in the training list, spreads in the test list."""
        needed = {"group": self.train_file, "spread": self.test_file}
        optional = (what for what, given in needed.items() if given and not self._is_list(file, given))
        return read_labels(
            file,
            path_column=self.path_column,
            target_column=self.target_column,
            group_column=self.group_column,
            spread_column=self.spread_column,
            labelled=labelled,
            optional=tuple(optional),
        )

    def _is_list(self, file: str | Path, given: str) -> bool:
        return Path(file) in (Path(given).expanduser(), Path(self.root, given))
