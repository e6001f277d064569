"""Metrics for ordered quantities that torchmetrics lacks: each a pair of functions and a small `Metric`.

Every metric here is defined in every case: if a level is absent, if all predictions are equal, after updates with no
samples, and for a single level. Shares and correlations of nothing are 0.0.
"""

from numclip_lightning.metrics.levels import AccuracyWithin, QuadraticKappa
from numclip_lightning.metrics.table import Measure, level_metrics, measure_of, value_metrics
from numclip_lightning.metrics.values import CumulativeScore, EpsilonError, Spearman

__all__ = [
    "AccuracyWithin",
    "CumulativeScore",
    "EpsilonError",
    "Measure",
    "QuadraticKappa",
    "Spearman",
    "level_metrics",
    "measure_of",
    "value_metrics",
]
