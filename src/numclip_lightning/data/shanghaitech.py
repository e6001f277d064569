"""ShanghaiTech (Zhang et al., CVPR 2016): crowds of 9 to 3,139 people, with a point on every head."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.matlab import read_matlab
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import DataError, check_choice
from numclip_lightning.images.folders import list_images

__all__ = ["ShanghaiTechDataModule", "count_points"]

Part = Literal["A", "B"]
_POINTS = ("ground_truth", "ground-truth")


@dataclass(kw_only=True, eq=False, repr=False)
class ShanghaiTechDataModule(FileDataModule):
    """ShanghaiTech's counts: part A, 300 images of the web for training and 182 for testing; part B, 400 and 316.

    `root/part_A_final` or `root/part_A` has `train_data` and `test_data`, with the images `images/IMG_1.jpg` and their
    points `ground_truth/GT_IMG_1.mat` (or `ground-truth`), which SciPy reads. The target is the number of points. A
    part of the training images is set aside for validation. If any list file is given, only the list files count. The
    other arguments are those of `FileDataModule`.

    Args:
        part: `A`, crowds of 33 to 3,139 people, or `B`, streets with 9 to 578.
    """

    part: Part = "A"

    def validate_arguments(self) -> None:
        """Check the part also."""
        super().validate_arguments()
        check_choice("part", self.part, get_args(Part))

    def published(self, split: Split) -> LabelTable | None:
        """Return the training or test images of the part; None if a list file is given or the folder is missing."""
        if split not in ("train", "test") or self.lists_given:
            return None
        for name in (f"part_{self.part}_final", f"part_{self.part}"):
            if (folder := Path(self.root, name, f"{split}_data")).is_dir():
                return LabelTable(self._read(folder))
        return None

    def expected(self, split: Split) -> str:
        """Describe the folders."""
        return f"put the folder part_{self.part}_final or part_{self.part} into {self.root!r}"

    def _read(self, folder: Path) -> Iterable[Label]:
        images = folder / "images"
        for image in list_images(images) if images.is_dir() else ():
            files = [folder / place / f"GT_{image.stem}.mat" for place in _POINTS]
            source = next((file for file in files if file.is_file()), None)
            if source is None:
                raise DataError(f"{image} has no points; put {files[0].name} into {files[0].parent}")
            yield Label(image.relative_to(self.root).as_posix(), (float(count_points(source)),), None, 0, image)


def count_points(source: Path) -> int:
    """Return the number of points of a file of ShanghaiTech.

    Raises:
        DataError: If it has none, or another number than it says.
    """
    info = read_matlab(source, "image_info")
    if not isinstance(info, dict) or not {"location", "number"} <= info.keys():
        raise DataError(f"{source}: image_info has no location and number; is it a file of ShanghaiTech?")
    points = np.asarray(info["location"]).size // 2
    if points != int(info["number"]):
        raise DataError(f"{source}: it has {points} points, but says {int(info['number'])}; take the original file")
    return points
