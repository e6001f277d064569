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
from numclip_lightning.errors import DataError, check_choice, format_number, refuse

__all__ = ["MorphDataModule"]

_FOLDS = {"A": 5, "B": 3, "C": 5, "D": 5, "ET": 1}
# What L2RCLIP's files call the source's settings, and the number in their names of each of the source's parts of B.
_L2RCLIP = {"C": "D", "D": "C"}
_B_PARTS = (0, 2, 1)
# <subject>_<number><sex><age>, such as 101157_5F39.JPG
_NAME = re.compile(r"(?P<subject>\d+)_\d*[MF](?P<age>\d{2})(?!\d)", re.IGNORECASE)


@dataclass(kw_only=True, eq=False, repr=False)
class MorphDataModule(FileDataModule):
    """MORPH II by the lists of L2RCLIP (settings A to D) or of OrdinalCLIP and NumCLIP (ET).

    The protocol's source is `changsukim-ku/order-learning`. L2RCLIP's files have its settings C and D exchanged, and
    the second and third part of B: setting C is read from the files `morph_D_00.txt` to `morph_D_04.txt`, setting D
    from `morph_C_00.txt` to `morph_C_04.txt`.

    The lists are looked for in `root` and in L2RCLIP's folders `root/settingA` to `root/settingD`. None of the
    protocols has a validation list of its own: a part of the training list is set aside, all images of a subject
    together. The other arguments are those of `FileDataModule`.

    Args:
        setting: A letter of the protocol's source, or `ET`. `A`: five random 80/20 draws, each of 5,492 images; about
            79 % of the test images show a person of the training list, so that a result on A measures memory of faces
            as well. `B`: three parts, trained on some and tested on the rest. `C`: subject-exclusive, five parts, test
            on one and train on the others; of 55,134 images, 852 show a person of another part. `D`: five random parts,
            where 52,878 images do. `ET`: `ET_proto_train.txt` for training and `ET_proto_val.txt` for testing;
            OrdinalCLIP and NumCLIP also select on it, which `select_on=test` does.
        fold: Which fold, from 0, in the source's order; B has 3, ET has 1, the others 5.
        train_parts: How many of B's three parts are trained on, as papers don't agree: 1, part `fold`, testing on the
            other two; or 2, testing on part `fold`.
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
            refuse(
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
        return self.join(split, names, self._folder) if names else None

    def expected(self, split: Split) -> str:
        """Name the published lists."""
        return f"put {', '.join(self._names(split))} into {self.root!r} or its folder {self._folder!r}"

    @property
    def _folder(self) -> str:
        """L2RCLIP's folder of the setting's lists."""
        return f"setting{_L2RCLIP.get(self.setting, self.setting)}"

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
        parts = [part for part in range(_FOLDS[self.setting]) if (part == self.fold) == single]
        if self.setting == "B":
            return [f"Setting_B_fold{_B_PARTS[part]}.txt" for part in parts]
        return [f"morph_{_L2RCLIP[self.setting]}_{part:02d}.txt" for part in parts]


def _with_subject(label: Label) -> Label:
    """Set the group to the subject; raise DataError if the age in the name is none of the labels."""
    match = _NAME.match(PurePosixPath(path_key(label.path)).name)
    if match is None:
        raise DataError(
            f"{label.where}: {label.path!r} is not a MORPH name such as 101157_5F39.JPG; "
            "read other files with ListDataModule"
        )
    if int(match["age"]) not in label.targets:
        ages = " ".join(map(format_number, label.targets))
        raise DataError(
            f"{label.where}: {label.path!r} is labelled {ages}, but its name says age {int(match['age'])}; "
            "correct the list"
        )
    return replace(label, group=match["subject"])
