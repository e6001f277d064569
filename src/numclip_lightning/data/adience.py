"""Adience (Eidinger et al., 2014): faces from Flickr in eight age classes, five folds with users of their own."""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from numclip_lightning.data.base.dialects import Record, read_records
from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.folds import check_fold
from numclip_lightning.data.base.labels import Label, LabelTable, without_repeats
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import DataError, check_choice

__all__ = ["AGES", "AdienceDataModule", "age_class"]

_log = logging.getLogger(__name__)

# The youngest and oldest age of each class, in years.
AGES = ((0, 2), (4, 6), (8, 13), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100))
FOLDS = 5
# For each kind of list: the file of a fold, and the folder it may be in.
_LISTS = {
    "simplified": ("simplified_adience_{}.txt", "adience"),
    "official": ("fold_{}_data.txt", "folds"),
    "frontal": ("fold_frontal_{}_data.txt", "folds"),
}
_COLUMNS = ("user_id", "original_image", "face_id", "age")
_AGE = re.compile(r"\((\d+), *(\d+)\)|(\d+)")


@dataclass(kw_only=True, eq=False, repr=False)
class AdienceDataModule(FileDataModule):
    """Adience by its five folds: test on one, train on the others; no user is in two of them.

    A target is the class 0 to 7: 0-2, 4-6, 8-13, 15-20, 25-32, 38-43, 48-53 and 60 or more years. Images are in
    `root/<user>/landmark_aligned_face.<face>.<image>`, lists in `root` or in its folder `adience` or `folds`. A
    part of the training users is set aside for validation. The other arguments are those of `FileDataModule`.

    Args:
        lists: `simplified`: the lists of L2RCLIP, `simplified_adience_0.txt` to `..._4.txt`, path and class.
            `official`: the tables that come with the images, `fold_0_data.txt` to `fold_4_data.txt`; an age given as a
            range or a number within a class is that class, other faces are left out. `frontal`: likewise
            `fold_frontal_0_data.txt` to `fold_frontal_4_data.txt`.
        fold: The fold to test on, 0 to 4.
    """

    lists: Literal["simplified", "official", "frontal"] = "simplified"
    fold: int = 0

    def validate_arguments(self) -> None:
        """Check the lists and the fold also."""
        super().validate_arguments()
        check_choice("lists", self.lists, tuple(_LISTS))
        check_fold(self.fold, FOLDS)

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read one list, recognise official tables by their name, and take the users from the paths."""
        official = re.fullmatch(r"fold_(frontal_)?\d_data\.txt", Path(file).name)
        if official:
            return _read_official(Path(file))
        table = super().read_list(file, labelled=labelled)
        return LabelTable(_with_user(label) for label in table) if labelled else table

    def published(self, split: Split) -> LabelTable | None:
        """Return the list of the fold for testing, the others joined for training."""
        if split not in ("train", "test"):
            return None
        return self.join(split, self._names(split), _LISTS[self.lists][1])

    def expected(self, split: Split) -> str:
        """Name the published lists."""
        folder = _LISTS[self.lists][1]
        return f"put {', '.join(self._names(split))} into {self.root!r} or its folder {folder!r}"

    def _names(self, split: Split) -> list[str]:
        pattern = _LISTS[self.lists][0]
        return [pattern.format(part) for part in range(FOLDS) if (part == self.fold) == (split == "test")]


def age_class(age: str) -> int | None:
    """Return the class of an age in the form of the official tables: `(25, 32)`, `(8, 12)`, `35`, `None`.

    Returns:
        The class that contains the whole range, 0 to 7; None if there is none.

    Raises:
        ValueError: If it is neither a range, a number, nor `None`.

    Example:
        >>> age_class("(25, 32)"), age_class("35"), age_class("None")
        (4, None, None)
    """
    if age == "None":
        return None
    match = _AGE.fullmatch(age)
    if match is None:
        raise ValueError(f"age {age!r} is neither a range such as (25, 32), a number, nor None")
    low, high = (int(match[1] or match[3]), int(match[2] or match[3]))
    return next((i for i, (first, last) in enumerate(AGES) if first <= low <= high <= last), None)


def _read_official(source: Path) -> LabelTable:
    records = read_records(source, _COLUMNS)
    labels = list(_official_labels(records, source))
    if skipped := len(records) - len(labels):
        _log.info("%s: %d of %d faces are left out, their age is in no single class", source, skipped, len(records))
    return without_repeats(labels, source)


def _official_labels(records: Iterable[Record], source: Path) -> Iterable[Label]:
    for line, fields in records:
        try:
            target = age_class(fields["age"])
        except ValueError as error:
            raise DataError(f"{source}:{line}: {error}") from error
        if target is not None:
            user, image, face = (fields[column] for column in _COLUMNS[:3])
            path = f"{user}/landmark_aligned_face.{face}.{image}"
            yield Label(path, (float(target),), user, line, source)


def _with_user(label: Label) -> Label:
    user, slash, _ = path_key(label.path).rpartition("/")
    if not slash:
        raise DataError(
            f"{label.where}: {label.path!r} has no user's folder, such as 30601258@N03/; read other files with "
            "ListDataModule"
        )
    return replace(label, group=user.rpartition("/")[2])
