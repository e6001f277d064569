"""MORPH II: faces of repeat offenders, ages 16 to 77, by the published lists."""

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.folds import check_fold
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import ConfigError, DataError, check_choice

__all__ = ["MorphDataModule"]

_FOLDS = {"A": 5, "B": 3, "C": 5, "D": 5, "ET": 1}
# <subject>_<number><sex><age>, such as 101157_5F39.JPG
_NAME = re.compile(r"(?P<subject>\d+)_\d*[MF](?P<age>\d{2})(?!\d)", re.IGNORECASE)


@dataclass(kw_only=True, eq=False, repr=False)
class MorphDataModule(FileDataModule):
    """MORPH II by the lists of L2RCLIP (settings A to D) or of OrdinalCLIP and NumCLIP (ET).

    The lists are searched for in `root` and in `root/setting<A..D>`. None of the protocols has its own validation
    list: a part of the training list is set aside, all images of a subject together. The other arguments are those of
    `FileDataModule`.

    Args:
        setting: `A`: five random 80/20 draws of 5,942 images. `B`: three parts, trained on some and tested on the rest.
            `C`: five random parts, test on one and train on the others. `D`: as C, but only three in a hundred
            subjects are in more than one part. `ET`: `ET_proto_train.txt` for training and `ET_proto_val.txt` for
            testing; OrdinalCLIP and NumCLIP also select on it, which `select_on=test` does.
        fold: Which fold, from 0; B has 3, ET has 1, the others 5.
        train_parts: Number of B's three parts for training; papers don't agree. 1: train on part `fold` and test on the
            other two. 2: test on part `fold`.
    """

    setting: Literal["A", "B", "C", "D", "ET"] = "A"
    fold: int = 0
    train_parts: Literal[1, 2] = 1

    def validate_arguments(self) -> None:
        """Check the setting and the fold also."""
        super().validate_arguments()
        check_choice("setting", self.setting, tuple(_FOLDS))
        check_fold(self.fold, _FOLDS[self.setting], f" in setting={self.setting!r}")
        if self.train_parts not in ((1, 2) if self.setting == "B" else (1,)):
            raise ConfigError(
                f"train_parts={self.train_parts} with setting={self.setting!r}: only setting B has parts to choose, 1 "
                "or 2 of three; leave it out otherwise"
            )

    def may_select_on_test(self) -> bool:
        """Return True for setting `ET` too: the code of OrdinalCLIP and NumCLIP selects on its test list."""
        return self.setting == "ET" or super().may_select_on_test()

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read one list, take the subjects from the file names, and compare the ages with them."""
        table = super().read_list(file, labelled=labelled)
        return LabelTable(_with_subject(label) for label in table) if labelled else table

    def published(self, split: Split) -> LabelTable | None:
        """Return the published lists of the setting and fold, joined if a split has several."""
        names = self._names(split)
        return self.join(split, names, f"setting{self.setting}") if names else None

    def expected(self, split: Split) -> str:
        """Name the published lists."""
        return f"put {', '.join(self._names(split))} into {self.root!r} or its folder 'setting{self.setting}'"

    def _names(self, split: Split) -> list[str]:
        """Return the file names of a split's lists."""
        if split not in ("train", "test"):
            return []
        if self.setting == "A":
            return [f"Setting_A_fold{self.fold}_{split}.txt"]
        if self.setting == "ET":
            return ["ET_proto_train.txt" if split == "train" else "ET_proto_val.txt"]
        # The single part is for testing, except in B with one part for training.
        single = split == ("train" if self.setting == "B" and self.train_parts == 1 else "test")
        pattern = "Setting_B_fold{}.txt" if self.setting == "B" else f"morph_{self.setting}_{{:02d}}.txt"
        return [pattern.format(part) for part in range(_FOLDS[self.setting]) if (part == self.fold) == single]


def _with_subject(label: Label) -> Label:
    """Set the group to the subject; raise DataError if the age in the name is none of the labels."""
    match = _NAME.match(PurePosixPath(path_key(label.path)).name)
    if match is None:
        raise DataError(
            f"{label.where}: {label.path!r} is not a MORPH name such as 101157_5F39.JPG; "
            "read other files with ListDataModule"
        )
    if int(match["age"]) not in label.targets:
        ages = " ".join(f"{target:g}" for target in label.targets)
        raise DataError(
            f"{label.where}: {label.path!r} is labelled {ages}, but its name says age {int(match['age'])}; "
            "correct the list"
        )
    return replace(label, group=match["subject"])
