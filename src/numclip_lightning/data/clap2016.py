"""ChaLearn LAP 2016 (Escalera et al., CVPR workshops 2016): apparent ages, each the mean of many guesses."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from numclip_lightning.data.base.labels import LabelTable, read_labels
from numclip_lightning.data.base.split_folders import SplitFoldersDataModule
from numclip_lightning.data.base.types import Split

__all__ = ["CLAP2016DataModule"]


@dataclass(kw_only=True, eq=False, repr=False)
class CLAP2016DataModule(SplitFoldersDataModule):
    """CLAP2016 by the challenge's lists: 4,113 images for training, 1,500 for validation, 1,978 for testing.

    The lists are `train_gt.csv`, `valid_gt.csv` and `test_gt.csv` in `root`, with the columns `image`, `mean` and
    `stdv` (the standard deviation of the guesses, for the epsilon-error); the images are in the folders `train`,
    `valid` and `test`. The means have decimals: the benchmark of CVPR 2024 rounds them. If any list file is given, only
    the list files count. The other arguments are those of `FileDataModule`.
    """

    lists: ClassVar[Mapping[Split, str]] = {"train": "train_gt.csv", "val": "valid_gt.csv", "test": "test_gt.csv"}

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read one of the challenge's lists."""
        return read_labels(
            file, path_column="image", target_column="mean", spread_column="stdv", labelled=labelled,
            attributes=self.attributes or (), optional=("attributes",),
        )  # fmt: skip
