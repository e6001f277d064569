"""Bases of the datasets: datamodules, label lists, splits, folds and checks."""

from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.data.base.dataset import FeatureDataset, OrdinalDataset
from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.folds import check_fold, cross_validate, k_folds, leave_group_out, split_each_value
from numclip_lightning.data.base.labels import Label, LabelTable, read_labels
from numclip_lightning.data.base.pools import DrawnDataModule, NameLabel, PoolDataModule, read_names
from numclip_lightning.data.base.splits import few_shots, long_tail, random_split, shift_values
from numclip_lightning.data.base.types import Batch, Split

__all__ = [
    "Batch",
    "DrawnDataModule",
    "FeatureDataset",
    "FileDataModule",
    "Label",
    "LabelTable",
    "NameLabel",
    "OrdinalDataModule",
    "OrdinalDataset",
    "PoolDataModule",
    "Split",
    "check_fold",
    "cross_validate",
    "few_shots",
    "k_folds",
    "leave_group_out",
    "long_tail",
    "random_split",
    "read_labels",
    "read_names",
    "shift_values",
    "split_each_value",
]
