"""What a dataset says of its lists: which files they are, how one is read, and what its papers allow."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from numclip_lightning.data.base.labels import Label, LabelTable, read_labels
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import MissingListError

__all__ = ["DatasetLists"]


class DatasetLists:
    """The lists of a dataset, its own or yours; `FileDataModule` declares the arguments and reads the splits from them.

    Attributes:
        root: Folder of the images and of published lists.
        train_file: Your own training list; None takes the dataset's.
        val_file: Your own validation list.
        test_file: Your own test list.
        attributes: Columns of what else is known of an image.
    """

    root: str
    train_file: str | None
    val_file: str | None
    test_file: str | None
    attributes: list[str] | None

    # Methods that a dataset overrides.

    def published(self, split: Split) -> LabelTable | None:
        """Return the dataset's own list for a split, used if no file is given; None if it has none."""
        return None

    def expected(self, split: Split) -> str:
        """Describe what `published` looks for, for the message if it is missing."""
        return ""

    def may_select_on_test(self) -> bool:
        """Return whether `select_on="test"` makes sense: for lists of your own, and where the papers do so."""
        return self.has_own_lists

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read one list file; `labelled=False` allows a list without labels."""
        return read_labels(file, labelled=labelled, attributes=self.attributes or (), optional=("attributes",))

    def attributes_of(self, label: Label) -> Mapping[str, str]:
        """Return what is known of an image beside target and group, by name: the columns of its list."""
        return dict(label.attributes)

    # Helpers for datasets.

    def search(self, name: str, *folders: str) -> Path | None:
        """Search for a published list in `root` and in folders below it; return None if there is none."""
        places = (Path(self.root, folder, name) for folder in ("", *folders))
        return next((place for place in places if place.is_file()), None)

    def join(self, split: Split, names: Sequence[str], *folders: str) -> LabelTable | None:
        """Read published lists, found as by `search`, as one table; return None if all are missing.

        Raises:
            MissingListError: If some are missing and some are not.
        """
        files = [self.search(name, *folders) for name in names]
        if not any(files):
            return None
        if not all(files):
            raise MissingListError(f"some lists of the {split} split are missing; {self.expected(split)}")
        return LabelTable(label for file in files if file for label in self.read_list(file))

    @property
    def lists_given(self) -> bool:
        """Whether any list file is given; datasets that draw their splits then use the list files alone."""
        return any((self.train_file, self.val_file, self.test_file))

    @property
    def has_own_lists(self) -> bool:
        """Whether the lists are your own, and no published protocol's."""
        return self.lists_given or type(self).published is DatasetLists.published

    @property
    def list_files(self) -> dict[Split, str | None]:
        """The list file of each split, as far as one is given."""
        return {"train": self.train_file, "val": self.val_file, "test": self.test_file}

    @property
    def groups_given(self) -> bool:
        """Whether groups are of your own lists; those of a dataset's are shared as its protocol has it."""
        return False
