"""The base of datasets with a list and a folder of images for each split."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.labels import LabelTable
from numclip_lightning.data.base.types import Split

__all__ = ["SplitFoldersDataModule"]


@dataclass(kw_only=True, eq=False, repr=False)
class SplitFoldersDataModule(FileDataModule):
    """Images in a folder for each split, beside a list that has their names alone.

    If any list file is given, only the list files count. The other arguments are those of `FileDataModule`.

    Attributes:
        lists: The list of each split.
        folders: The folder of each split's images, in `root`.
    """

    lists: ClassVar[Mapping[Split, str]]
    folders: ClassVar[Mapping[Split, str]] = {"train": "train", "val": "valid", "test": "test"}

    def published(self, split: Split) -> LabelTable | None:
        """Return the images of a split; None if a list file is given or the list is missing."""
        if split not in self.lists or self.lists_given:
            return None
        file = self.search(self.lists[split])
        if file is None:
            return None
        return LabelTable(
            replace(label, path=f"{self.folders[split]}/{self.image_name(label.path)}")
            for label in self.read_list(file)
        )

    def image_name(self, name: str) -> str:
        """Return the file name of an image that the list names."""
        return name

    def expected(self, split: Split) -> str:
        """Name the list and the folder."""
        split = split if split in self.lists else "test"
        return f"put {self.lists[split]} and the folder {self.folders[split]!r} of images into {self.root!r}"
