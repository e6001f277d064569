"""UTKFace: faces of ages 0 to 116; the age is the first field of the file name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.pools import DrawnDataModule, NameLabel, read_names
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import DataError, check_choice, refuse

__all__ = ["UTKFaceDataModule"]

Subset = Literal["full", "21-60"]

_AGE = re.compile(r"(\d{1,3})_")
# The rest is malformed in four published names. The codes are those of UTKFace; other sources turn those of sex round.
_NAME = re.compile(r"\d{1,3}_([01])_([0-4])_")
_SEXES = ("male", "female")
_ETHNICITIES = ("White", "Black", "Asian", "Indian", "Other")


@dataclass(kw_only=True, eq=False, repr=False)
class UTKFaceDataModule(DrawnDataModule):
    """UTKFace by list files, or by the images' names if no list file is given.

    Names are `[age]_[gender]_[race]_[time].jpg`, or `.jpg.chip.jpg` for aligned faces, in `root` or `root/images`.
    The names also give the attributes `sex` and `ethnicity`, if `attributes` asks for them: as UTKFace's authors have
    estimated them, not what the people say of themselves.

    There is no official split: a part of the images is drawn for testing, and a part of the rest for validation. The
    other arguments are those of `DrawnDataModule` and `FileDataModule`.

    Args:
        subset: `full`, or `21-60`: the ages that several papers keep, equivalent to `min_age=21` and `max_age=60`.
        min_age: Leave out younger faces, in years; None keeps all. Applies to every split with labels.
        max_age: Leave out older faces, in years; None keeps all.
    """

    subset: Subset = "full"
    min_age: int | None = None
    max_age: int | None = None

    def validate_arguments(self) -> None:
        """Check the ages also."""
        super().validate_arguments()
        check_choice("subset", self.subset, get_args(Subset))
        if self.subset != "full" and (self.min_age, self.max_age) != (None, None):
            refuse(f"subset={self.subset!r} sets the ages; leave out min_age={self.min_age} and max_age={self.max_age}")
        if self.min_age is not None and self.max_age is not None and self.min_age > self.max_age:
            refuse(f"min_age={self.min_age} is above max_age={self.max_age}; no face is left")

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read one list and keep the requested ages."""
        table = super().read_list(file, labelled=labelled)
        return self._keep_ages(table, str(file)) if labelled else table

    def read_pool(self) -> LabelTable:
        """Return the images whose names have an age, in `root` or `root/images`."""
        faces = read_names(self.root, ("images",), _age)
        return self._keep_ages(faces, self.root) if faces else faces

    def attributes_of(self, label: Label) -> Mapping[str, str]:
        """Return sex and ethnicity from the image's name, empty where it is malformed; columns of a list come first."""
        match = _NAME.match(label.path.replace("\\", "/").rsplit("/", 1)[-1])
        sex, ethnicity = (_SEXES[int(match[1])], _ETHNICITIES[int(match[2])]) if match else ("", "")
        return {"sex": sex, "ethnicity": ethnicity, **super().attributes_of(label)}

    def expected(self, split: Split) -> str:
        """Describe the images' names."""
        return f"put images named like 31_0_2_20170104.jpg into {self.root!r} or its folder 'images'"

    def _keep_ages(self, table: LabelTable, place: str) -> LabelTable:
        low, high = (21, 60) if self.subset == "21-60" else (self.min_age, self.max_age)
        lowest = float("-inf") if low is None else low
        highest = float("inf") if high is None else high
        kept = LabelTable(label for label in table if lowest <= label.target <= highest)
        if table and not kept:
            raise DataError(f"{place}: none of {len(table)} faces has min_age={low} to max_age={high}; widen the range")
        return kept


def _age(name: str) -> NameLabel | None:
    match = _AGE.match(name)
    return NameLabel(float(match[1])) if match else None
