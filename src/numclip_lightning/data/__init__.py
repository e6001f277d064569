"""From label files and images to batches; knows nothing of models, methods or scales."""

from numclip_lightning.data.adience import AdienceDataModule
from numclip_lightning.data.aesthetics import AestheticsDataModule
from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.data.base.dataset import OrdinalDataset
from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.labels import Label, LabelTable, read_labels
from numclip_lightning.data.clap2015 import CLAP2015DataModule
from numclip_lightning.data.counting.datamodule import CountingDataModule
from numclip_lightning.data.fgnet import FGNETDataModule
from numclip_lightning.data.historical import HistoricalDataModule
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.data.morph import MorphDataModule
from numclip_lightning.data.retina import RetinaDataModule
from numclip_lightning.data.utkface import UTKFaceDataModule

__all__ = [
    "AdienceDataModule",
    "AestheticsDataModule",
    "CLAP2015DataModule",
    "CountingDataModule",
    "FGNETDataModule",
    "FileDataModule",
    "HistoricalDataModule",
    "Label",
    "LabelTable",
    "ListDataModule",
    "MorphDataModule",
    "OrdinalDataModule",
    "OrdinalDataset",
    "RetinaDataModule",
    "UTKFaceDataModule",
    "read_labels",
]
