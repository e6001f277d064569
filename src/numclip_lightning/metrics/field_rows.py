"""The metrics of the field, a row each: key, label, digits, which way is better, what each is updated with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torchmetrics import MeanSquaredError, Metric

from numclip_lightning.metrics.by_level import AverageLevelMAE, WorstLevelMAE
from numclip_lightning.metrics.calibration import CalibrationError
from numclip_lightning.metrics.deviations import Bias, MedianError
from numclip_lightning.metrics.distributions import CRPS, NLL, RPS, Brier
from numclip_lightning.metrics.kendall import Kendall
from numclip_lightning.metrics.moments import Concordance, Pearson
from numclip_lightning.metrics.sensitivity import MinimumSensitivity
from numclip_lightning.scale import OrdinalScale

__all__ = ["FIELD_ROWS", "FieldRow", "Needs"]

Needs = Literal["value", "level", "probabilities", "distribution"]
"""What `update` takes: predicted and true values; predicted and true levels; probabilities and true levels; or
probabilities and true values."""


@dataclass(frozen=True, kw_only=True)
class FieldRow:
    """One metric of the field.

    Attributes:
        key: What a configuration and the results call it, without the split.
        label: Its name for people.
        needs: What its `update` takes.
        make: Builds it for a scale.
        better: Which way is better; "zero" is the nearer to 0.
        digits: How many digits are printed behind the point.
        percent: Whether a share of 0 to 1 is printed as 0 to 100.
    """

    key: str
    label: str
    needs: Needs
    make: Callable[[OrdinalScale], Metric]
    better: Literal["lower", "higher", "zero"] = "lower"
    digits: int = 2
    percent: bool = False


FIELD_ROWS = [
    FieldRow(
        key="rmse",
        label="Root mean squared error",
        needs="value",
        # torchmetrics' own: NaN of nothing, sums under DDP.
        make=lambda _: MeanSquaredError(squared=False),
    ),
    FieldRow(key="bias", label="Bias (mean signed error)", needs="value", make=lambda _: Bias(), better="zero"),
    FieldRow(key="median_ae", label="Median absolute error", needs="value", make=lambda _: MedianError()),
    FieldRow(
        key="plcc",
        label="Pearson's correlation",
        needs="value",
        make=lambda _: Pearson(),
        better="higher",
        digits=3,
    ),
    FieldRow(
        key="kendall", label="Kendall's tau-b", needs="value", make=lambda _: Kendall(), better="higher", digits=3
    ),
    FieldRow(
        key="ccc",
        label="Lin's concordance",
        needs="value",
        make=lambda _: Concordance(),
        better="higher",
        digits=3,
    ),
    FieldRow(
        key="amae",
        label="Mean over levels of the error in levels (AMAE)",
        needs="level",
        make=lambda scale: AverageLevelMAE(scale.num_levels),
    ),
    FieldRow(
        key="mmae",
        label="Largest error of a level, in levels (MMAE)",
        needs="level",
        make=lambda scale: WorstLevelMAE(scale.num_levels),
    ),
    FieldRow(
        key="min_sensitivity",
        label="Minimum sensitivity",
        needs="level",
        make=lambda scale: MinimumSensitivity(scale.num_levels),
        better="higher",
        percent=True,
    ),
    FieldRow(
        key="rps",
        label="Ranked probability score",
        needs="probabilities",
        make=lambda scale: RPS(scale.num_levels),
        digits=3,
    ),
    FieldRow(
        key="crps",
        label="Continuous ranked probability score",
        needs="distribution",
        make=lambda scale: CRPS(scale.centers),
    ),
    FieldRow(
        key="nll",
        label="Negative log-likelihood",
        needs="probabilities",
        make=lambda scale: NLL(scale.num_levels),
        digits=3,
    ),
    FieldRow(
        key="brier", label="Brier score", needs="probabilities", make=lambda scale: Brier(scale.num_levels), digits=3
    ),
    FieldRow(
        key="ece",
        label="Expected calibration error",
        needs="probabilities",
        make=lambda scale: CalibrationError(scale.num_levels),
        percent=True,
    ),
]
"""In the order of tables."""
