"""Datasets that no list divides: their splits are drawn from one pool of images."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from numclip_lightning.data.base.arguments import require_fraction
from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.splits import random_split
from numclip_lightning.data.base.types import Split
from numclip_lightning.images.folders import list_images

__all__ = ["DrawnDataModule", "NameLabel", "PoolDataModule", "read_names"]

_log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False, repr=False)
class PoolDataModule(FileDataModule):
    """Images whose folds are drawn, where no list file is given; list files that are given count alone.

    A dataset says what its pool is (`read_pool`) and how it is divided (`divide`). The other arguments are those of
    `FileDataModule`.

    Args:
        split_seed: Seed of what is tested on: of the fold with all its parts, or of the test part. It is not `seed`, so
            that several seeds of a method have one test set.
    """

    split_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._parts: dict[Split, LabelTable] | None = None

    @abstractmethod
    def read_pool(self) -> LabelTable:
        """All labelled images; empty where there are none."""

    @abstractmethod
    def divide(self, pool: LabelTable) -> Mapping[Split, Sequence[Label]]:
        """The images for `"train"` and `"test"`, and for `"val"` where no part of the former is to be set aside."""

    def published(self, split: Split) -> LabelTable | None:
        """The part of the pool; None where a list file is given or the pool is empty."""
        if split == "predict" or self.lists_given:
            return None
        if self._parts is None:
            # Read once: all splits are drawn from it, and reading may warn.
            pool = self.read_pool()
            self._parts = {name: LabelTable(part) for name, part in self.divide(pool).items()} if pool else {}
        return self._parts.get(split)


@dataclass(kw_only=True, eq=False, repr=False)
class DrawnDataModule(PoolDataModule):
    """Images of which a part is drawn for testing, by `split_seed`, and a part of the rest for validation, by `seed`.

    A dataset says what its pool is (`read_pool`). The other arguments are those of `PoolDataModule`.

    Args:
        test_fraction: Share of the images drawn for testing, groups kept whole, in (0, 1).
    """

    test_fraction: float = 0.2

    def validate_arguments(self) -> None:
        """Check the fraction too."""
        super().validate_arguments()
        require_fraction("test_fraction", self.test_fraction)

    def divide(self, pool: LabelTable) -> Mapping[Split, Sequence[Label]]:
        """Draw the test part."""
        train, test = random_split(pool, self.test_fraction, self.split_seed)
        return {"train": train, "test": test}


class NameLabel(NamedTuple):
    """What an image's name says."""

    target: float
    group: str | None = None


def read_names(root: str, folders: Sequence[str], parse: Callable[[str], NameLabel | None]) -> LabelTable:
    """Read labels from the images' names, in `root` or else the first of its folders where a name says something.

    Args:
        root: Folder that the labels' paths are relative to.
        folders: Folders in `root` to look into after it.
        parse: What a file name says, or None where it says nothing; such images are skipped with a warning.
    """
    for place in (Path(root), *(Path(root, folder) for folder in folders)):
        images = list_images(place) if place.is_dir() else []
        labels = [
            Label(str(image.relative_to(root)), (named.target,), named.group, 0, image)
            for image in images
            if (named := parse(image.name))
        ]
        if skipped := len(images) - len(labels):
            _log.warning("%s: %d of %d images skipped, their names have no age", place, skipped, len(images))
        if labels:
            return LabelTable(labels)
    return LabelTable(())
