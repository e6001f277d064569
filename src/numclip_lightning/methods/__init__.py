"""The methods, each a LightningModule; one published method a file."""

from numclip_lightning.methods.base import OrdinalMethod
from numclip_lightning.methods.coop import CoOp
from numclip_lightning.methods.gda import GDA
from numclip_lightning.methods.linear_probe import LinearProbe
from numclip_lightning.methods.numclip import LossWeights, NumCLIP
from numclip_lightning.methods.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.ordinalclip import OrdinalCLIP
from numclip_lightning.methods.output import Output, Prediction
from numclip_lightning.methods.tip_adapter import TipAdapter
from numclip_lightning.methods.tip_adapter_f import TipAdapterF
from numclip_lightning.methods.zero_shot import ZeroShotCLIP

__all__ = [
    "CoOp",
    "GDA",
    "LearningRates",
    "LinearProbe",
    "LossWeights",
    "NumCLIP",
    "OptimizerSpec",
    "OrdinalCLIP",
    "OrdinalMethod",
    "Output",
    "Prediction",
    "SchedulerSpec",
    "TipAdapter",
    "TipAdapterF",
    "ZeroShotCLIP",
]
