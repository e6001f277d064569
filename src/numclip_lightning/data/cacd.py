"""CACD (Chen et al., ECCV 2014): 163,446 photographs of 2,000 famous people, ages 14 to 62, by the images' names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.matlab import read_matlab
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.data.base.pools import NameLabel, PoolDataModule, read_names
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import DataError, MissingListError

__all__ = ["CACDDataModule"]

_META = "celebrity2000_meta.mat"
# <age>_<person>_<number>.jpg, such as 53_Robin_Williams_0001.jpg
_NAME = re.compile(r"(?P<age>\d+)_(?P<person>.+)_\d+\.")


@dataclass(kw_only=True, eq=False, repr=False)
class CACDDataModule(PoolDataModule):
    """CACD by its authors' protocol: 1,800 people for training, 80 for validation, 120 for testing.

    A person's rank is in `celebrity2000_meta.mat`: those of ranks 1 and 2 validate, those of 3 to 5 are tested on, all
    others are trained on. It is searched for in `root` and `root/CACD2000`, as are the images, and reading it needs
    SciPy. Only the people of validation and test have clean images. If any list file is given, only the list files
    count. The other arguments are those of `FileDataModule`; `split_seed` has no effect.
    """

    def read_pool(self) -> LabelTable:
        """Return the images whose names have a person and an age."""
        return read_names(self.root, ("CACD2000", "CACD2000/CACD2000"), _age_and_person)

    def divide(self, pool: LabelTable) -> Mapping[Split, Sequence[Label]]:
        """Divide the people by their ranks."""
        parts: dict[Split, list[Label]] = {"train": [], "val": [], "test": []}
        for label in pool:
            rank = self._ranks.get(path_key(label.path).rsplit("/", 1)[-1])
            if rank is None:
                raise DataError(f"{_META} has no image {label.path!r}; remove it, or take the images' own table")
            parts["val" if rank <= 2 else "test" if rank <= 5 else "train"].append(label)
        return parts

    def expected(self, split: Split) -> str:
        """Describe the images' names and the table."""
        return (
            f"put {_META} and images named like 53_Robin_Williams_0001.jpg into {self.root!r} or its folder 'CACD2000'"
        )

    @cached_property
    def _ranks(self) -> dict[str, int]:
        """The rank of the person of each image, by its file name."""
        source = self.search(_META, "CACD2000")
        if source is None:
            raise MissingListError(f"{_META} is missing, which says who is tested on; {self.expected('test')}")
        images = read_matlab(source, "celebrityImageData")
        names, ranks = (np.atleast_1d(images[field]).ravel() for field in ("name", "rank"))
        return {str(name): int(rank) for name, rank in zip(names, ranks, strict=True)}


def _age_and_person(name: str) -> NameLabel | None:
    match = _NAME.match(name)
    return NameLabel(float(match["age"]), match["person"]) if match else None
