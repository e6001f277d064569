"""Datamodules of list files."""

from pathlib import Path
from typing import Any

from numclip_lightning.data.base import FileDataModule, LabelTable
from support.fake_data import make_list_dataset


def make_three_lists(folder: Path) -> Path:
    """Write 30 training, 11 validation and 9 test images and their lists; return the folder."""
    for name, n in (("train.txt", 30), ("val.txt", 11), ("test.txt", 9)):
        make_list_dataset(folder, n, name=name)
    return folder


def module(root: Path, **options: Any) -> FileDataModule:
    """Return a datamodule of the three lists, or of those that are given instead."""
    given = {"train_file": "train.txt", "val_file": "val.txt", "test_file": "test.txt", **options}
    return FileDataModule(root=str(root), image_size=8, num_workers=0, **given)


def paths(table: LabelTable) -> list[str]:
    """Return the paths of a list, in its order."""
    return [label.path for label in table]
