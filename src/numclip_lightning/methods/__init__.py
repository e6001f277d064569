"""The methods, each a LightningModule; one published method a file."""

from numclip_lightning.methods.base import OrdinalMethod, Output, Prediction
from numclip_lightning.methods.numclip import LossWeights, NumCLIP
from numclip_lightning.methods.optimisers import LearningRates, OptimizerSpec, SchedulerSpec

__all__ = [
    "LearningRates",
    "LossWeights",
    "NumCLIP",
    "OptimizerSpec",
    "OrdinalMethod",
    "Output",
    "Prediction",
    "SchedulerSpec",
]
