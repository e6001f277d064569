"""FG-NET (Panis et al., 2016): 1,002 photographs of 82 people, ages 0 to 69, by the images' names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from numclip_lightning.data.base import Split, require_fraction
from numclip_lightning.data.folds import Part, check_fold, leave_group_out
from numclip_lightning.data.labels import Label, LabelTable
from numclip_lightning.data.pools import Named, PoolDataModule, read_names
from numclip_lightning.data.splits import random_split

__all__ = ["FGNETDataModule"]

FOLDS = 82
# <person>A<age>, and a letter where there are several, such as 078A11.JPG and 001A43a.JPG
_NAME = re.compile(r"(?P<person>\d+)A(?P<age>\d+)[a-z]?\.", re.IGNORECASE)


@dataclass(kw_only=True, eq=False, repr=False)
class FGNETDataModule(PoolDataModule):
    """FG-NET, leaving one person out for testing: 82 folds, of which papers report the mean.

    Images lie in `root`, `root/images` or `root/FGNET/images`. People of the training part are set aside for
    validation. Where any list file is given, the list files alone count. The other arguments are those of
    `FileDataModule`.

    Args:
        fold: The person to test on, 0 to 81 by the numbers in the names; None draws people for testing by `seed`.
        test_fraction: Share of the images drawn for testing, all of a person together, in (0, 1), where `fold` is None.
    """

    fold: int | None = 0
    test_fraction: float = 0.2

    def validate_arguments(self) -> None:
        """Check the fold and the fraction too."""
        super().validate_arguments()
        require_fraction("test_fraction", self.test_fraction)
        if self.fold is not None:
            check_fold(self.fold, FOLDS)

    def read_pool(self) -> LabelTable:
        """The images whose names have a person and an age."""
        return read_names(self.root, ("images", "FGNET/images"), _person_and_age)

    def divide(self, pool: LabelTable) -> Mapping[Part, Sequence[Label]]:
        """Leave the person out, or draw people."""
        if self.fold is None:
            train, test = random_split(pool, self.test_fraction, self.seed)
        else:
            train, test = leave_group_out(pool, self.fold)
        return {"train": train, "test": test}

    def expected(self, split: Split) -> str:
        """Describe the images' names."""
        return f"put images named like 078A11.JPG into {self.root!r} or its folder 'images'"


def _person_and_age(name: str) -> Named | None:
    match = _NAME.match(name)
    return Named(float(match["age"]), f"{int(match['person']):03d}") if match else None
