"""Metrics for ordered quantities that torchmetrics lacks: each a pair of functions and a small `Metric`.

Every metric here is defined in every case: if a level is absent, if all predictions are equal, after updates with no
samples, and for a single level. Shares and correlations of nothing are 0.0.
"""

from numclip_lightning.metrics.choice import DEFAULT, build_metrics, choose, default_tolerance, measure_of
from numclip_lightning.metrics.levels import AccuracyWithin, QuadraticKappa
from numclip_lightning.metrics.measure import Measure, Needs
from numclip_lightning.metrics.values import CumulativeScore, EpsilonError, Spearman

__all__ = [
    "DEFAULT",
    "AccuracyWithin",
    "CumulativeScore",
    "EpsilonError",
    "Measure",
    "Needs",
    "QuadraticKappa",
    "Spearman",
    "build_metrics",
    "choose",
    "default_tolerance",
    "measure_of",
]
