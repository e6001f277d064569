"""FG-NET (Panis et al., 2016): 1,002 photographs of 82 people, ages 0 to 69, by the images' names."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from numclip_lightning.data.base.folds import check_fold, leave_group_out
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.pools import DrawnDataModule, NameLabel, read_names
from numclip_lightning.data.base.types import Split

__all__ = ["FGNETDataModule"]

_log = logging.getLogger(__name__)

FOLDS = 82
# <person>A<age>, and a letter if there are several, such as 078A11.JPG and 001A43a.JPG
_NAME = re.compile(r"(?P<person>\d+)A(?P<age>\d+)[a-z]?\.", re.IGNORECASE)


@dataclass(kw_only=True, eq=False, repr=False)
class FGNETDataModule(DrawnDataModule):
    """FG-NET, leaving one person out for testing: 82 folds, of which papers report the mean.

    Images are in `root`, `root/images` or `root/FGNET/images`. Some people of the training part are set aside for
    validation. If any list file is given, only the list files count. The other arguments are those of
    `DrawnDataModule` and `FileDataModule`.

    Args:
        fold: The person to test on, 0 to 81 in the order of the numbers in the names; None draws people for testing, by
            `test_fraction` and `split_seed`, which have no effect otherwise.
    """

    fold: int | None = 0

    def validate_arguments(self) -> None:
        """Check the fold also."""
        super().validate_arguments()
        if self.fold is not None:
            check_fold(self.fold, FOLDS)

    def read_pool(self) -> LabelTable:
        """Return the images whose names have a person and an age."""
        return read_names(self.root, ("images", "FGNET/images"), _person_and_age)

    def divide(self, pool: LabelTable) -> Mapping[Split, Sequence[Label]]:
        """Leave one person out, or draw people."""
        if self.fold is None:
            return super().divide(pool)
        persons = len({label.group for label in pool})
        if persons != FOLDS:
            _log.warning(
                "%s has %d people, where FG-NET has %d: fold=%d is not the fold of that number in the papers",
                self.root, persons, FOLDS, self.fold,
            )  # fmt: skip
        train, test = leave_group_out(pool, self.fold)
        return {"train": train, "test": test}

    def expected(self, split: Split) -> str:
        """Describe the images' names."""
        return f"put images named like 078A11.JPG into {self.root!r} or its folder 'images'"


def _person_and_age(name: str) -> NameLabel | None:
    match = _NAME.match(name)
    return NameLabel(float(match["age"]), f"{int(match['person']):03d}") if match else None
