"""APPA-REAL (Agustsson et al., FG 2017): 7,591 photographs with real ages and the guesses of about 38 people each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

from numclip_lightning.data.base.labels import LabelTable, read_labels
from numclip_lightning.data.base.split_folders import SplitFoldersDataModule
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import check_choice

__all__ = ["AppaRealDataModule"]

Age = Literal["apparent", "real"]


@dataclass(kw_only=True, eq=False, repr=False)
class AppaRealDataModule(SplitFoldersDataModule):
    """APPA-REAL by its authors' lists: 4,113 images for training, 1,500 for validation, 1,978 for testing.

    The lists are `gt_avg_train.csv`, `gt_avg_valid.csv` and `gt_avg_test.csv` in `root`; the images are in the folders
    `train`, `valid` and `test`. If any list file is given, only the list files count. The other arguments are those of
    `FileDataModule`.

    Args:
        age: `apparent`: the mean of the guesses, with their deviation as its spread; `real`: the true age.
        faces: Whether the faces are read that the authors have cut out and turned upright, `000000.jpg_face.jpg`, in
            place of the whole photographs.
    """

    lists: ClassVar[Mapping[Split, str]] = {
        "train": "gt_avg_train.csv", "val": "gt_avg_valid.csv", "test": "gt_avg_test.csv",
    }  # fmt: skip

    age: Age = "apparent"
    faces: bool = True

    def validate_arguments(self) -> None:
        """Check the age also."""
        super().validate_arguments()
        check_choice("age", self.age, get_args(Age))

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read one of the authors' lists."""
        guessed = self.age == "apparent"
        return read_labels(
            file,
            path_column="file_name",
            target_column="apparent_age_avg" if guessed else "real_age",
            spread_column="apparent_age_std" if guessed else "none",
            labelled=labelled,
            attributes=self.attributes or (),
            optional=("attributes",),
        )

    def image_name(self, name: str) -> str:
        """Return the name of the photograph, or of the face that is cut out of it."""
        return f"{name}_face.jpg" if self.faces else name
