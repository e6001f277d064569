"""AFAD (Niu et al., CVPR 2016): Asian faces of ages 15 to 75 in folders by age and sex."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.data.base.pools import DrawnDataModule
from numclip_lightning.data.base.types import Split
from numclip_lightning.images.folders import list_images

__all__ = ["AFADDataModule"]

_FOLDERS = ("", "AFAD-Full", "AFAD-Lite", "AFAD/AFAD-Full")
_SEXES = {"111": "male", "112": "female"}
_PLACE = re.compile(r"(?:^|/)\d{1,3}/(?P<sex>11[12])/[^/]+$")


@dataclass(kw_only=True, eq=False, repr=False)
class AFADDataModule(DrawnDataModule):
    """AFAD by its folders: `18/112/638660-1.jpg` is a woman of 18 years.

    The folders of the ages are in `root`, `root/AFAD-Full` or `root/AFAD-Lite`. There is no official split: a part is
    drawn for testing, all images of one number (`638660`) together, and another for validation. The five splits of the
    benchmark of CVPR 2024 are those of `FaceBenchmarkDataModule`. If any list file is given, only the list files count.
    The folders also give the attribute `sex`, if `attributes` asks for it. The other arguments are those of
    `DrawnDataModule` and `FileDataModule`.
    """

    def read_pool(self) -> LabelTable:
        """Return the images of the first folder with folders of ages."""
        return next(filter(None, (LabelTable(self._read(folder)) for folder in _FOLDERS)), LabelTable(()))

    def attributes_of(self, label: Label) -> Mapping[str, str]:
        """Return the sex from the image's folder; columns of a list come first."""
        match = _PLACE.search(path_key(label.path))
        return {"sex": _SEXES[match["sex"]] if match else "", **super().attributes_of(label)}

    def expected(self, split: Split) -> str:
        """Describe the folders."""
        return f"put folders such as 18/112, of women of 18, into {self.root!r} or its folder 'AFAD-Full'"

    def _read(self, folder: str) -> Iterable[Label]:
        place = Path(self.root, folder)
        ages = [age for age in place.iterdir() if age.name.isdecimal()] if place.is_dir() else []
        for age in sorted(ages, key=lambda age: int(age.name)):
            for sex in _SEXES:
                for image in list_images(age / sex) if (age / sex).is_dir() else ():
                    number = image.stem.partition("-")[0]
                    path = image.relative_to(self.root).as_posix()
                    yield Label(path, (float(age.name),), number, 0, image)
