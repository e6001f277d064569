"""The numbers of one run with their intervals, all from one set of draws of its images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from numclip_lightning.metrics import Measure, default_tolerance, measure_of
from numclip_lightning.metrics.distributions import brier, nll, rps
from numclip_lightning.report.files import metric_of
from numclip_lightning.report.rank_resampling import drawn_kendall, drawn_spearman
from numclip_lightning.report.reported import ReportedRun
from numclip_lightning.report.resampling import RESAMPLES, ends, resampled_sums
from numclip_lightning.scale import OrdinalScale

__all__ = ["Guessed", "Measured", "guessed", "image_columns", "measure_run", "tolerance_of"]

_Numbers = NDArray[np.float64]
_Sums = Mapping[str, _Numbers]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A metric of a run.

    Attributes:
        key: Its key, such as `mae`.
        measure: How it is printed.
        value: The number.
        low: The lower end of its 95 % interval; NaN if there is one image, or one group of images.
        high: The upper end.
    """

    key: str
    measure: Measure
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Guessed:
    """What guessing costs on the same images.

    Attributes:
        costs: By the key of a metric, `mae` and `acc`.
        source: In words, where the answer of the guess is from.
    """

    costs: Mapping[str, float]
    source: str


def tolerance_of(run: ReportedRun) -> float:
    """Return the tolerance of the cumulative score: that of the scale, or of one over the targets that are there."""
    if run.scale:
        return default_tolerance(run.scale)
    targets = run.frame["target"]
    whole = bool((targets == targets.round()).all())
    low, high = float(targets.min()), float(targets.max())
    step = 1.0 if whole else (high - low) / 1000 or 1.0
    return default_tolerance(
        OrdinalScale(minimum=low, maximum=low + step * max(1, round((high - low) / step)), step=step)
    )


def image_columns(run: ReportedRun) -> dict[str, _Numbers]:
    """Return what is summed over images, a column of N numbers for each name; those that the run's file gives."""
    error = run.errors
    value, target = (run.frame[name].to_numpy("float64") for name in ("value", "target"))
    # Centred: squares of years such as 1950 would leave no digits for a correlation.
    value, target = value - target.mean(), target - target.mean()
    # Compared in float32, as the metric does, where 0.1 off is not more than 0.1.
    near = np.abs(error).astype("float32") <= np.float32(tolerance_of(run))
    found = {
        "one": np.ones_like(error), "error": error, "absolute": np.abs(error), "square": error**2,
        "near": near.astype("float64"), "value": value, "target": target, "value2": value**2,
        "target2": target**2, "product": value * target,
    }  # fmt: skip
    levels = run.levels
    if levels is None or (levels[1] < 0).any() or (levels[0] < 0).any():
        return found
    predicted, true = (level.astype("float64") for level in levels)
    off = np.abs(predicted - true)
    found |= {"hit": (off == 0) * 1.0, "next": (off <= 1) * 1.0, "off2": off**2}
    found |= {"level": predicted, "level2": predicted**2, "true": true, "true2": true**2}
    if run.probabilities is not None and len(run.phrases) > 1:
        distribution, truth = torch.tensor(run.probabilities), torch.tensor(levels[1])
        if run.has_distributions:
            found |= {"rps": rps(distribution, truth).numpy(), "brier": brier(distribution, truth).numpy()}
            found["nll"] = nll(distribution.float(), truth).double().numpy()
    return found


def _mean(name: str) -> Callable[[_Sums], _Numbers]:
    return lambda sums: sums[name] / sums["one"]


def _correlation(sums: _Sums) -> _Numbers:
    n = sums["one"]
    product = n * sums["product"] - sums["value"] * sums["target"]
    spread = (n * sums["value2"] - sums["value"] ** 2) * (n * sums["target2"] - sums["target"] ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return product / np.sqrt(spread)


def _kappa(sums: _Sums) -> _Numbers:
    """Cohen's kappa with quadratic weights: 1 less the squared distances over those of independent levels."""
    expected = sums["level2"] + sums["true2"] - 2 * sums["level"] * sums["true"] / sums["one"]
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - sums["off2"] / expected


# In the order of the page. `cs` takes the tolerance of the run.
_FORMULAS: dict[str, tuple[str, Callable[[_Sums], _Numbers]]] = {
    "mae": ("absolute", _mean("absolute")),
    "rmse": ("square", lambda sums: np.sqrt(sums["square"] / sums["one"])),
    "bias": ("error", _mean("error")),
    "cs": ("near", _mean("near")),
    "acc": ("hit", _mean("hit")),
    "acc_within_1": ("next", _mean("next")),
    "qwk": ("off2", _kappa),
    "plcc": ("product", _correlation),
    "rps": ("rps", _mean("rps")),
    "nll": ("nll", _mean("nll")),
    "brier": ("brier", _mean("brier")),
}
# Functions of order, not of sums.
_ORDERED: dict[str, Callable[..., _Numbers]] = {"spearman": drawn_spearman, "kendall": drawn_kendall}
_MOST_FOR_KENDALL = 20_000


class _Draws:
    """The sums over all images, and over those of each draw."""

    def __init__(self, run: ReportedRun, resamples: int) -> None:
        self.columns = image_columns(run)
        self._run, self._resamples = run, resamples

    @cached_property
    def whole(self) -> _Sums:
        return {name: column.sum(keepdims=True) for name, column in self.columns.items()}

    @cached_property
    def drawn(self) -> _Sums | None:
        groups = self._run.groups
        if len(self._run.frame if groups is None else np.unique(groups)) < 2:
            return None
        table = np.column_stack(list(self.columns.values()))
        sums = resampled_sums(table, groups=groups, resamples=self._resamples)
        return dict(zip(self.columns, sums.T, strict=True))


def measure_run(run: ReportedRun, *, resamples: int = RESAMPLES) -> list[Measured]:
    """Measure a run on all of its images.

    Args:
        run: With true numbers.
        resamples: How often images (or groups) are drawn for the intervals.

    Returns:
        The metrics that its file gives, with percentile bootstrap intervals.
    """
    draws, found = _Draws(run, resamples), []
    score = f"cs{tolerance_of(run):.12g}".replace(".", "_")
    for name, (needed, formula) in _FORMULAS.items():
        if needed not in draws.columns:
            continue
        key = score if name == "cs" else name
        value = float(formula(draws.whole)[0])
        low, high = ends(formula(draws.drawn)) if draws.drawn else (float("nan"), float("nan"))
        found.append(Measured(key=key, measure=measure_of(f"test_{key}"), value=value, low=low, high=high))
        if name == "plcc":
            asked = [key for key in _ORDERED if key == "spearman" or len(run.frame) <= _MOST_FOR_KENDALL]
            found += [_ordered(key, run, resamples if draws.drawn else 0) for key in asked]
    return found


def _ordered(key: str, run: ReportedRun, resamples: int) -> Measured:
    value, low, high = metric_of(f"test_{key}", run.frame), float("nan"), float("nan")
    if resamples:
        numbers = (run.frame[name].to_numpy("float64") for name in ("value", "target"))
        low, high = ends(_ORDERED[key](*numbers, groups=run.groups, resamples=resamples))
    return Measured(
        key=key, measure=measure_of(f"test_{key}"), value=float("nan") if value is None else value, low=low, high=high
    )


def guessed(run: ReportedRun) -> Guessed:
    """Return what guessing costs: as the run recorded it, or the best constant answer that these images allow."""
    recorded = {key: run.metrics.get(f"test_guess_{key}") for key in ("mae", "acc")}
    known = {key: float(cost) for key, cost in recorded.items() if cost is not None}
    if known:
        return Guessed(costs=known, source="the median of the training targets, and their commonest level")
    targets = run.frame["target"].to_numpy("float64")
    costs = {"mae": float(np.abs(targets - np.median(targets)).mean())}
    if run.levels is not None:
        costs["acc"] = float(np.bincount(run.levels[1][run.levels[1] >= 0], minlength=1).max() / len(targets))
    return Guessed(
        costs=costs,
        source="the median and the commonest level of these very images, as the training targets are not known; a "
        "real guess would be worse",
    )
