"""Knee osteoarthritis: radiographs of knees in a folder for each grade of Kellgren and Lawrence, 0 to 4."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.graded_folders import read_graded_folder
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.data.base.types import Split

__all__ = ["KneeDataModule"]

# <patient><L or R>.png, such as 9001695L.png; some copies write 9001695_1.png for the right and _2 for the left knee.
_NAME = re.compile(r"(?P<patient>\d+)(?:_?(?P<side>[LR12]))?$", re.IGNORECASE)
_SIDES = {"l": "left", "r": "right", "1": "right", "2": "left"}


@dataclass(kw_only=True, eq=False, repr=False)
class KneeDataModule(FileDataModule):
    """Knees of the Osteoarthritis Initiative, graded 0 to 4, as Chen (Mendeley Data, 2018) has divided them.

    `root/train`, `root/val` and `root/test` have a folder for each grade: `train/0` to `train/4`. Another folder of
    this form is given as `test_file`. The patient is the number in an image's name: both knees of one patient should
    be in one split, and those that are not are warned of. The names also give the attribute `side`, if `attributes`
    asks for it. If any list file is given, only the list files count. The other arguments are those of
    `FileDataModule`.
    """

    def published(self, split: Split) -> LabelTable | None:
        """Return the images of the split's folder; None if a list file is given or there is no such folder."""
        folder = Path(self.root, split)
        return None if split == "predict" or self.lists_given or not folder.is_dir() else self.read_list(folder)

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read a folder of grades, or a list; patients come from the names."""
        graded = Path(file).is_dir()
        table = read_graded_folder(Path(file), self.root) if graded else super().read_list(file, labelled=labelled)
        return LabelTable(_with_patient(label) for label in table)

    def attributes_of(self, label: Label) -> Mapping[str, str]:
        """Return the side from the image's name; columns of a list come first."""
        match = _match(label)
        side = _SIDES[match["side"].lower()] if match and match["side"] else ""
        return {"side": side, **super().attributes_of(label)}

    def expected(self, split: Split) -> str:
        """Describe the folders."""
        return f"put the folder {split!r} with a folder for each grade, 0 to 4, into {self.root!r}"


def _match(label: Label) -> re.Match[str] | None:
    return _NAME.match(path_key(label.path).rsplit("/", 1)[-1].partition(".")[0])


def _with_patient(label: Label) -> Label:
    match = _match(label)
    return replace(label, group=match["patient"]) if label.group is None and match else label
