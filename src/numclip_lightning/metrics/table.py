"""The table of all metrics, a row each; a new metric is its file and one row here."""

from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric
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


def _accuracy(scale: OrdinalScale, _: float) -> Metric:
    # torchmetrics knows no single class; over all samples the number makes no difference. Its own check of the
    # arguments would wait for the device at each update.
    return MulticlassAccuracy(max(scale.num_levels, 2), average="micro", validate_args=False)


# In the order of tables. `{}` in a key is a number: the tolerance in the target's unit, or the distance in levels.
METRICS: dict[str, Measure] = {
    "mae": Measure(label="Mean absolute error", needs="value", make=lambda *_: MeanAbsoluteError()),
    "rmse": Measure(label="Root mean squared error", needs="value", make=lambda *_: MeanSquaredError(squared=False)),
    "bias": Measure(label="Bias (mean signed error)", needs="value", make=lambda *_: Bias(), better="zero"),
    "median_ae": Measure(label="Median absolute error", needs="value", make=lambda *_: MedianError()),
    "epsilon": Measure(label="Epsilon-error", needs="spread", make=lambda *_: EpsilonError(), digits=3),
    "acc": Measure(label="Accuracy", needs="level", make=_accuracy, better="higher", percent=True),
    "acc_within_{}": Measure(
        label="Accuracy within {} level{s}",
        needs="level",
        make=lambda _, distance: AccuracyWithin(int(distance)),
        better="higher",
        percent=True,
    ),
    "cs{}": Measure(
        label="Cumulative score at {}",
        needs="value",
        make=lambda _, tolerance: CumulativeScore(tolerance),
        better="higher",
        percent=True,
    ),
    "qwk": Measure(
        label="Quadratic kappa",
        needs="level",
        make=lambda scale, _: QuadraticKappa(scale.num_levels),
        better="higher",
        digits=3,
    ),
    "spearman": Measure(
        label="Spearman's correlation", needs="value", make=lambda *_: Spearman(), better="higher", digits=3
    ),
    "kendall": Measure(label="Kendall's tau-b", needs="value", make=lambda *_: Kendall(), better="higher", digits=3),
    "plcc": Measure(label="Pearson's correlation", needs="value", make=lambda *_: Pearson(), better="higher", digits=3),
    "ccc": Measure(label="Lin's concordance", needs="value", make=lambda *_: Concordance(), better="higher", digits=3),
    "amae": Measure(
        label="Mean over levels of the mean absolute error (AMAE)",
        needs="value_by_level",
        make=lambda scale, _: AverageLevelMAE(scale.num_levels),
    ),
    "mmae": Measure(
        label="Mean absolute error of the worst level (MMAE)",
        needs="value_by_level",
        make=lambda scale, _: WorstLevelMAE(scale.num_levels),
    ),
    "min_sensitivity": Measure(
        label="Minimum sensitivity",
        needs="level",
        make=lambda scale, _: MinimumSensitivity(scale.num_levels),
        better="higher",
        percent=True,
    ),
    "rps": Measure(
        label="Ranked probability score", needs="probabilities", make=lambda scale, _: RPS(scale.num_levels), digits=3
    ),
    "crps": Measure(
        label="Continuous ranked probability score", needs="distribution", make=lambda scale, _: CRPS(scale.centers)
    ),
    "nll": Measure(
        label="Negative log-likelihood", needs="probabilities", make=lambda scale, _: NLL(scale.num_levels), digits=3
    ),
    "brier": Measure(
        label="Brier score", needs="probabilities", make=lambda scale, _: Brier(scale.num_levels), digits=3
    ),
    "ece": Measure(
        label="Expected calibration error",
        needs="probabilities",
        make=lambda scale, _: CalibrationError(scale.num_levels),
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
