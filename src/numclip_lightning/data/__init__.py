"""From label files and images to batches; knows nothing of models, methods or scales."""

from numclip_lightning.data.aesthetics import AestheticsDataModule
from numclip_lightning.data.base import OrdinalDataModule
from numclip_lightning.data.counting import CountingDataModule
from numclip_lightning.data.dataset import OrdinalDataset
from numclip_lightning.data.files import FileDataModule
from numclip_lightning.data.historical import HistoricalDataModule
from numclip_lightning.data.labels import Label, LabelTable, read_labels
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.data.morph import MorphDataModule
from numclip_lightning.data.utkface import UTKFaceDataModule

__all__ = [
    "AestheticsDataModule",
    "CountingDataModule",
    "FileDataModule",
    "HistoricalDataModule",
    "Label",
    "LabelTable",
    "ListDataModule",
    "MorphDataModule",
    "OrdinalDataModule",
    "OrdinalDataset",
    "UTKFaceDataModule",
    "read_labels",
]
