"""UTKFace: faces of ages 0 to 116, the age being the first field of the file name."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from numclip_lightning.data.base import Split, require_fraction
from numclip_lightning.data.files import FileDataModule
from numclip_lightning.data.images import list_images
from numclip_lightning.data.labels import Label, LabelTable
from numclip_lightning.data.splits import random_split
from numclip_lightning.errors import ConfigError, DataError

__all__ = ["UTKFaceDataModule"]

_log = logging.getLogger(__name__)

# Only the age is read: the rest is malformed in four published names, and the codes of sex differ between sources.
_AGE = re.compile(r"(\d{1,3})_")


@dataclass(kw_only=True, eq=False, repr=False)
class UTKFaceDataModule(FileDataModule):
    """UTKFace by list files, or by the images' names where no list file is given.

    Names are `[age]_[gender]_[race]_[time].jpg`, or `.jpg.chip.jpg` for aligned faces, in `root` or `root/images`.
    There is no official split: a part of the images is drawn for testing by `seed`, and a part of the rest for
    validation. The other arguments are those of `FileDataModule`.

    Args:
        test_fraction: Share of the images drawn for testing, in (0, 1), where no list file is given.
        min_age: Leave out younger faces, in years; None keeps all. Applies to every split with labels.
        max_age: Leave out older faces, in years; None keeps all.
    """

    test_fraction: float = 0.2
    min_age: int | None = None
    max_age: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._faces: LabelTable | None = None

    def validate_arguments(self) -> None:
        """Check the fraction and the ages too."""
        super().validate_arguments()
        require_fraction("test_fraction", self.test_fraction)
        if self.min_age is not None and self.max_age is not None and self.min_age > self.max_age:
            raise ConfigError(f"min_age={self.min_age} is above max_age={self.max_age}; no face is left")

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read one list and keep the ages asked for."""
        table = super().read_list(file, labelled=labelled)
        return self._keep_ages(table, str(file)) if labelled else table

    def published(self, split: Split) -> LabelTable | None:
        """The training and test parts of the images in the folder, where no list file is given."""
        if split not in ("train", "test") or self.train_file or self.val_file or self.test_file:
            return None
        labels = self._names()
        if not labels:
            return None
        rest, part = random_split(labels, self.test_fraction, self.seed)
        return LabelTable(rest if split == "train" else part)

    def expected(self, split: Split) -> str:
        """Describe the images' names."""
        return f"put images named like 31_0_2_20170104.jpg into {self.root!r} or its folder 'images'"

    def _names(self) -> LabelTable:
        # Read once: both splits are drawn from it, and it may speak of names without an age.
        if self._faces is None:
            self._faces = self._read_names()
        return self._faces

    def _read_names(self) -> LabelTable:
        folders = (folder for folder in (Path(self.root), Path(self.root, "images")) if folder.is_dir())
        images = next((images for folder in folders if (images := list_images(folder))), [])
        labels = [
            Label(str(image.relative_to(self.root)), (float(match[1]),), None, 0, image)
            for image in images
            if (match := _AGE.match(image.name))
        ]
        if skipped := len(images) - len(labels):
            _log.warning("%s: %d of %d images skipped, their names have no age", self.root, skipped, len(images))
        return self._keep_ages(LabelTable(labels), self.root) if labels else LabelTable(())

    def _keep_ages(self, table: LabelTable, place: str) -> LabelTable:
        lowest = float("-inf") if self.min_age is None else self.min_age
        highest = float("inf") if self.max_age is None else self.max_age
        kept = LabelTable(label for label in table if lowest <= label.target <= highest)
        if table and not kept:
            raise DataError(
                f"{place}: none of {len(table)} faces has min_age={self.min_age} to max_age={self.max_age}; "
                "widen the range"
            )
        return kept
