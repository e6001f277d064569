"""Bases of datasets without lists of splits: the splits are drawn from one pool of images."""

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
from numclip_lightning.images.loading import list_images

__all__ = ["DrawnDataModule", "NameLabel", "PoolDataModule", "read_names"]

_log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False, repr=False)
class PoolDataModule(FileDataModule):
    """Images whose splits are drawn from a pool; if any list file is given, only the list files count.

    A dataset defines its pool (`read_pool`) and its division (`divide`). The other arguments are those of
    `FileDataModule`.

    Args:
        split_seed: Seed of the fold with all its parts, or of the test part. It is separate from `seed`, so that
            several seeds of a method have one test set.
    """

    split_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._parts: dict[Split, LabelTable] | None = None

    @abstractmethod
    def read_pool(self) -> LabelTable:
        """Return all labelled images; an empty table if there are none."""

    @abstractmethod
    def divide(self, pool: LabelTable) -> Mapping[Split, Sequence[Label]]:
        """Return the images for `"train"` and `"test"`, and for `"val"` unless a part of the former is set aside."""

    def published(self, split: Split) -> LabelTable | None:
        """Return a split of the pool; None if a list file is given or the pool is empty."""
        if split == "predict" or self.lists_given:
            return None
        if self._parts is None:
            # Read once: all splits are drawn from it, and reading may log warnings.
            pool = self.read_pool()
            self._parts = {name: LabelTable(part) for name, part in self.divide(pool).items()} if pool else {}
        return self._parts.get(split)


@dataclass(kw_only=True, eq=False, repr=False)
class DrawnDataModule(PoolDataModule):
    """Images with a test part drawn by `split_seed`, and a validation part of the rest drawn by `seed`.

    A dataset defines its pool (`read_pool`). The other arguments are those of `PoolDataModule`.

    Args:
        test_fraction: Share of the images drawn for testing, groups kept whole, in (0, 1).
    """

    test_fraction: float = 0.2

    def validate_arguments(self) -> None:
        """Check the fraction also."""
        super().validate_arguments()
        require_fraction("test_fraction", self.test_fraction)

    def divide(self, pool: LabelTable) -> Mapping[Split, Sequence[Label]]:
        """Draw the test part."""
        train, test = random_split(pool, self.test_fraction, self.split_seed)
        return {"train": train, "test": test}


class NameLabel(NamedTuple):
    """Target and group from the name of an image."""

    target: float
    group: str | None = None


def read_names(root: str, folders: Sequence[str], parse: Callable[[str], NameLabel | None]) -> LabelTable:
    """Read labels from the images' names, in `root` or else in the first of its folders with such names.

    Args:
        root: Folder that the labels' paths are relative to.
        folders: Folders in `root` to search after it.
        parse: Returns the label of a file name, or None if it has none; such images are skipped with a warning.
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
