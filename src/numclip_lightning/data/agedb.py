"""AgeDB (Moschoglou et al., CVPR workshops 2017): 16,488 photographs of 568 famous people, by the images' names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.data.base.pools import DrawnDataModule, NameLabel, read_names
from numclip_lightning.data.base.types import Split

__all__ = ["AgeDBDataModule", "agedb_name", "agedb_sex"]

# <number>_<person>_<age>_<m or f>.jpg, such as 11706_OliviaHussey_31_f.jpg
_NAME = re.compile(r"\d+_(?P<person>.+)_(?P<age>\d+)_(?P<sex>[mf])\.", re.IGNORECASE)
_SEXES = {"m": "male", "f": "female"}


@dataclass(kw_only=True, eq=False, repr=False)
class AgeDBDataModule(DrawnDataModule):
    """AgeDB by the images' names, with people who are tested on and never trained on.

    Images are in `root` or `root/AgeDB`. There is no official split: whole people are drawn for testing, and others for
    validation. The five splits of the benchmark of CVPR 2024 are those of `FaceBenchmarkDataModule`. If any list file
    is given, only the list files count. The names also give the attribute `sex`, if `attributes` asks for it. The other
    arguments are those of `DrawnDataModule` and `FileDataModule`.
    """

    def read_pool(self) -> LabelTable:
        """Return the images whose names have a person and an age."""
        return read_names(self.root, ("AgeDB", "AgeDB/AgeDB"), agedb_name)

    def attributes_of(self, label: Label) -> Mapping[str, str]:
        """Return the sex from the image's name; columns of a list come first."""
        return {**agedb_sex(label), **super().attributes_of(label)}

    def expected(self, split: Split) -> str:
        """Describe the images' names."""
        return f"put images named like 11706_OliviaHussey_31_f.jpg into {self.root!r} or its folder 'AgeDB'"


def agedb_name(name: str) -> NameLabel | None:
    """Return the age and the person of a file name; None for another name.

    Example:
        >>> agedb_name("11706_OliviaHussey_31_f.jpg")
        NameLabel(target=31.0, group='OliviaHussey')
    """
    match = _NAME.match(name)
    return NameLabel(float(match["age"]), match["person"].strip()) if match else None


def agedb_sex(label: Label) -> dict[str, str]:
    """Return the attribute `sex` of an image by its name, empty where that has none."""
    match = _NAME.match(path_key(label.path).rsplit("/", 1)[-1])
    return {"sex": _SEXES[match["sex"].lower()] if match else ""}
