"""ShanghaiTech (Zhang et al., CVPR 2016): crowds of 9 to 3,139 people, with a point on every head."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from numclip_lightning.data.base.dataset import OrdinalDataset
from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.matlab import read_matlab
from numclip_lightning.data.base.pointed import PointedDataset
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import DataError, check_choice, refuse
from numclip_lightning.images.folders import list_images
from numclip_lightning.images.opening import UNREADABLE

__all__ = ["ShanghaiTechDataModule", "read_points"]

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
        places: Whether batches say where the people are, for methods that count by blocks: `"places"`, int16 (B, side,
            side), the number of heads at each pixel. It needs `preprocess=whole`, which crops nobody.
    """

    counts: ClassVar[bool] = True

    part: Part = "A"
    places: bool = False

    def validate_arguments(self) -> None:
        """Check the part and the places also."""
        super().validate_arguments()
        check_choice("part", self.part, get_args(Part))
        if self.places and self.preprocess != "whole":
            refuse(
                f"places=true with preprocess={self.preprocess!r}: people would be cropped out of the image, and the "
                "blocks that are left would not add up to its number; set data.preprocess=whole"
            )

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

    def dataset(self, split: Split) -> OrdinalDataset:
        """Return the images of a split; with `places`, those with labels say where their people are."""
        plain = super().dataset(split)
        if not self.places or split == "predict":
            return plain
        points = [_shares(_points_file(Path(file)), Path(file)) for file in plain.files]
        return PointedDataset(
            plain.labels, self.root, plain.transform, sample_target=split == "train", reading=plain.reading,
            points=points,
        )  # fmt: skip

    def _read(self, folder: Path) -> Iterable[Label]:
        images = folder / "images"
        for image in list_images(images) if images.is_dir() else ():
            count = len(read_points(_points_file(image)))
            yield Label(image.relative_to(self.root).as_posix(), (float(count),), None, 0, image)


def read_points(source: Path) -> npt.NDArray[np.float64]:
    """Return the points of a file of ShanghaiTech, x and y in pixels from 1 on, (N, 2).

    Raises:
        DataError: If it has none, or another number than it says.
    """
    info = read_matlab(source, "image_info")
    if not isinstance(info, dict) or not {"location", "number"} <= info.keys():
        raise DataError(f"{source}: image_info has no location and number; is it a file of ShanghaiTech?")
    points = np.asarray(info["location"], dtype=np.float64).reshape(-1, 2)
    if len(points) != int(info["number"]):
        raise DataError(
            f"{source}: it has {len(points)} points, but says {int(info['number'])}; take the original file"
        )
    return points


def _points_file(image: Path) -> Path:
    """Return the file with the points of an image.

    Raises:
        DataError: If there is none.
    """
    files = [image.parent.parent / place / f"GT_{image.stem}.mat" for place in _POINTS]
    source = next((file for file in files if file.is_file()), None)
    if source is None:
        raise DataError(f"{image} has no points; put {files[0].name} into {files[0].parent}")
    return source


def _shares(source: Path, image: Path) -> npt.NDArray[np.float64]:
    """Return the points of an image as shares of its width and height."""
    try:
        with Image.open(image) as opened:
            size = opened.size
    except UNREADABLE as error:
        raise DataError(f"can't read image {image}: {error}") from error
    # MATLAB's first pixel has its centre at 1.
    shares: npt.NDArray[np.float64] = (read_points(source) - 0.5) / size
    return shares
