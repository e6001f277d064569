"""The methods, each a LightningModule; one published method a file."""

from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.types import Output, Prediction
from numclip_lightning.methods.clipebc import CLIPEBC
from numclip_lightning.methods.coop import CoOp
from numclip_lightning.methods.coral import CORAL
from numclip_lightning.methods.corn import CORN
from numclip_lightning.methods.cosine import CosineClassifier
from numclip_lightning.methods.gda import GDA
from numclip_lightning.methods.l1 import L1Regression
from numclip_lightning.methods.l2rclip import L2RCLIP
from numclip_lightning.methods.linear_probe import LinearProbe
from numclip_lightning.methods.mean_variance import MeanVariance
from numclip_lightning.methods.numclip import LossWeights, NumCLIP
from numclip_lightning.methods.ordinalclip import OrdinalCLIP
from numclip_lightning.methods.rankingaware import RankingAwareCLIP
from numclip_lightning.methods.sord import SORD
from numclip_lightning.methods.tip_adapter import TipAdapter
from numclip_lightning.methods.tip_adapter_f import TipAdapterF
from numclip_lightning.methods.zero_shot import ZeroShotCLIP

__all__ = [
    "CLIPEBC",
    "CORAL",
    "CORN",
    "GDA",
    "L2RCLIP",
    "SORD",
    "CoOp",
    "CosineClassifier",
    "L1Regression",
    "LearningRates",
    "LinearProbe",
    "LossWeights",
    "MeanVariance",
    "NumCLIP",
    "OptimizerSpec",
    "OrdinalCLIP",
    "OrdinalMethod",
    "Output",
    "Prediction",
    "RankingAwareCLIP",
    "SchedulerSpec",
    "TipAdapter",
    "TipAdapterF",
    "ZeroShotCLIP",
]
