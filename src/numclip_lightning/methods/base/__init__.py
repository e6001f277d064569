"""Base classes of the published methods, their types and optimisers."""

from numclip_lightning.methods.base.classes import (
    Classes,
    ClassesMethod,
    ImageClassifier,
    Names,
    PromptClassifier,
)
from numclip_lightning.methods.base.image import ImageMethod
from numclip_lightning.methods.base.imbalance import ImbalanceSpec
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.mixing import MixSpec
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.prompted import ContextMethod, PromptedMethod
from numclip_lightning.methods.base.radam import PublishedRAdam
from numclip_lightning.methods.base.samples import (
    Samples,
    encode_share,
    encode_training,
    features_of,
    gather_by_index,
)
from numclip_lightning.methods.base.selection import Choice, SelectingMethod, check_candidates
from numclip_lightning.methods.base.softened import Falling, SoftenedMethod
from numclip_lightning.methods.base.solved import SolvedMethod, UntrainedMethod
from numclip_lightning.methods.base.start import SolvedStart
from numclip_lightning.methods.base.thresholds import ThresholdMethod
from numclip_lightning.methods.base.tip_adapter import TipAdapterMethod
from numclip_lightning.methods.base.towers import PatchDropSpec
from numclip_lightning.methods.base.tuning import TuneSpec
from numclip_lightning.methods.base.types import Batch, Output, Prediction, Reader, Split

__all__ = [
    "Batch",
    "Choice",
    "Classes",
    "ClassesMethod",
    "ContextMethod",
    "Falling",
    "ImageClassifier",
    "ImageMethod",
    "ImbalanceSpec",
    "LearningRates",
    "MixSpec",
    "Names",
    "OptimizerSpec",
    "OrdinalMethod",
    "Output",
    "PatchDropSpec",
    "Prediction",
    "PromptClassifier",
    "PromptedMethod",
    "PublishedRAdam",
    "Reader",
    "Samples",
    "SchedulerSpec",
    "SelectingMethod",
    "SoftenedMethod",
    "SolvedMethod",
    "SolvedStart",
    "Split",
    "ThresholdMethod",
    "TipAdapterMethod",
    "TuneSpec",
    "UntrainedMethod",
    "check_candidates",
    "encode_share",
    "encode_training",
    "features_of",
    "gather_by_index",
]
