"""The table of all metrics, a row each; a new metric is its file and one row here."""

from typing import Any

from torchmetrics import MeanAbsoluteError, MeanSquaredError
from torchmetrics.classification import MulticlassAccuracy

from numclip_lightning.metrics.by_level import AverageLevelMAE, WorstLevelMAE
from numclip_lightning.metrics.calibration import CalibrationError
from numclip_lightning.metrics.deviations import Bias, MedianError
from numclip_lightning.metrics.distributions import CRPS, NLL, RPS, Brier
from numclip_lightning.metrics.kendall import Kendall
from numclip_lightning.metrics.levels import AccuracyWithin, QuadraticKappa
from numclip_lightning.metrics.measure import Measure
from numclip_lightning.metrics.moments import Concordance, Pearson
from numclip_lightning.metrics.sensitivity import MinimumSensitivity
from numclip_lightning.metrics.values import CumulativeScore, EpsilonError, Spearman
from numclip_lightning.scale import OrdinalScale

__all__ = ["GROUPS", "METRICS"]


def _levels(scale: OrdinalScale, _: float) -> dict[str, Any]:
    return {"num_levels": scale.num_levels}


def _accuracy(scale: OrdinalScale, _: float) -> dict[str, Any]:
    # torchmetrics knows no single class; over all samples the number makes no difference. Its own check of the
    # arguments would wait for the device at each update.
    return {"num_classes": max(scale.num_levels, 2), "average": "micro", "validate_args": False}


# In the order of tables. `{}` in a key is a number: the tolerance in the target's unit, or the distance in levels.
METRICS: dict[str, Measure] = {
    "mae": Measure(label="Mean absolute error", needs="value", kind=MeanAbsoluteError),
    "rmse": Measure(
        label="Root mean squared error", needs="value", kind=MeanSquaredError, arguments=lambda *_: {"squared": False}
    ),
    "bias": Measure(label="Bias (mean signed error)", needs="value", kind=Bias),
    "median_ae": Measure(label="Median absolute error", needs="value", kind=MedianError),
    "epsilon": Measure(label="Epsilon-error", needs="spread", kind=EpsilonError, digits=3),
    "acc": Measure(label="Accuracy", needs="level", kind=MulticlassAccuracy, arguments=_accuracy, percent=True),
    "acc_within_{}": Measure(
        label="Accuracy within {} level{s}",
        needs="level",
        kind=AccuracyWithin,
        arguments=lambda _, distance: {"distance": int(distance)},
        percent=True,
    ),
    "cs{}": Measure(
        label="Cumulative score at {}",
        needs="value",
        kind=CumulativeScore,
        arguments=lambda _, tolerance: {"tolerance": tolerance},
        percent=True,
    ),
    "qwk": Measure(label="Quadratic kappa", needs="level", kind=QuadraticKappa, arguments=_levels, digits=3),
    "spearman": Measure(label="Spearman's correlation", needs="value", kind=Spearman, digits=3),
    "kendall": Measure(label="Kendall's tau-b", needs="value", kind=Kendall, digits=3),
    "plcc": Measure(label="Pearson's correlation", needs="value", kind=Pearson, digits=3),
    "ccc": Measure(label="Lin's concordance", needs="value", kind=Concordance, digits=3),
    "amae": Measure(
        label="Mean over levels of the mean absolute error (AMAE)",
        needs="value_by_level",
        kind=AverageLevelMAE,
        arguments=_levels,
    ),
    "mmae": Measure(
        label="Mean absolute error of the worst level (MMAE)",
        needs="value_by_level",
        kind=WorstLevelMAE,
        arguments=_levels,
    ),
    "min_sensitivity": Measure(
        label="Minimum sensitivity", needs="level", kind=MinimumSensitivity, arguments=_levels, percent=True
    ),
    "rps": Measure(label="Ranked probability score", needs="probabilities", kind=RPS, arguments=_levels, digits=3),
    "crps": Measure(
        label="Continuous ranked probability score",
        needs="distribution",
        kind=CRPS,
        arguments=lambda scale, _: {"centers": scale.centers},
    ),
    "nll": Measure(label="Negative log-likelihood", needs="probabilities", kind=NLL, arguments=_levels, digits=3),
    "brier": Measure(label="Brier score", needs="probabilities", kind=Brier, arguments=_levels, digits=3),
    "ece": Measure(
        label="Expected calibration error",
        needs="probabilities",
        kind=CalibrationError,
        arguments=_levels,
        percent=True,
    ),
}

# What several metrics are asked for by; `cs{}` is taken at the method's tolerance.
GROUPS: dict[str, tuple[str, ...]] = {
    "default": ("mae", "acc", "acc_within_1", "cs{}", "qwk", "spearman"),
    "values": ("mae", "rmse", "bias", "median_ae", "cs{}", "spearman", "kendall", "plcc", "ccc"),
    "levels": ("acc", "acc_within_1", "qwk", "amae", "mmae", "min_sensitivity"),
    "probabilities": ("rps", "crps", "nll", "brier", "ece"),
}
GROUPS["all"] = tuple(dict.fromkeys(key for group in list(GROUPS.values()) for key in group))
