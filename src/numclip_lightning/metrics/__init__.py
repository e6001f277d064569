"""Metrics for ordered quantities that torchmetrics lacks: each a pair of functions and a small `Metric`.

Every metric here is defined in every case: when a level is absent, when all predictions are equal, after updates with
no samples, and where there is a single level. Shares and correlations of nothing are 0.0.
"""

from torchmetrics import MeanAbsoluteError, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from numclip_lightning.metrics.levels import AccuracyWithin, QuadraticKappa
from numclip_lightning.metrics.values import CumulativeScore, EpsilonError, Spearman

__all__ = [
    "AccuracyWithin",
    "CumulativeScore",
    "EpsilonError",
    "QuadraticKappa",
    "Spearman",
    "level_metrics",
    "value_metrics",
]


def value_metrics(tolerance: float) -> MetricCollection:
    """Return the metrics of a value: `mae`, `spearman`, and the cumulative score at a tolerance.

    Args:
        tolerance: What the cumulative score allows, in the target's unit. It names the key: `cs5` for 5, and
            `cs0_5` for 0.5, since the names of modules can't hold a dot.

    Returns:
        Takes values and targets of shape (B,). Without any sample `mae` is NaN: an error of 0 would pass for the best.

    Raises:
        ConfigError: If `tolerance` is negative or not finite.
    """
    score = f"cs{tolerance:g}".replace(".", "_")
    return _collection({"mae": MeanAbsoluteError(), score: CumulativeScore(tolerance), "spearman": Spearman()})


def level_metrics(num_levels: int) -> MetricCollection:
    """Return the metrics of a level: `acc`, `acc_within_1` and `qwk`.

    Args:
        num_levels: K, at least 1.

    Returns:
        Takes predicted and true levels, int64 of shape (B,), B at least 1: torchmetrics' accuracy can't take less.

    Raises:
        ConfigError: If `num_levels` is less than 1.
    """
    kappa = QuadraticKappa(num_levels)
    # torchmetrics knows no single class; over all samples the number makes no difference. Its own check of the
    # arguments would wait for the device at each update.
    accuracy = MulticlassAccuracy(max(num_levels, 2), average="micro", validate_args=False)
    return _collection({"acc": accuracy, "acc_within_1": AccuracyWithin(1), "qwk": kappa})


def _collection(metrics: dict[str, Metric]) -> MetricCollection:
    # Without groups: torchmetrics merges metrics whose states are equal after the first batch, which those of two
    # metrics may be by chance.
    return MetricCollection(dict(metrics), compute_groups=False)
