"""The methods, each a LightningModule; one published method a file."""

from numclip_lightning.methods.base import OrdinalMethod
from numclip_lightning.methods.coop import CoOp
from numclip_lightning.methods.numclip import LossWeights, NumCLIP
from numclip_lightning.methods.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.ordinalclip import OrdinalCLIP
from numclip_lightning.methods.output import Output, Prediction
from numclip_lightning.methods.zero_shot import ZeroShotCLIP

__all__ = [
    "CoOp",
    "LearningRates",
    "LossWeights",
    "NumCLIP",
    "OptimizerSpec",
    "OrdinalCLIP",
    "OrdinalMethod",
    "Output",
    "Prediction",
    "SchedulerSpec",
    "ZeroShotCLIP",
]
