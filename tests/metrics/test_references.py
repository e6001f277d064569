"""Every metric of the table against an independent reference, where inputs are odd: absent, tied, constant, alone.

A metric without a reference here fails the first test. What libraries call undefined (NaN) is what the second table
says: a correlation with a constant is 0.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, pearsonr, spearmanr
from sklearn import metrics as sk
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from numclip_lightning.metrics.table import METRICS
from support.metric_inputs import LEVELS, SCALE, draw_levels, draw_probabilities, draw_values

pytestmark = pytest.mark.filterwarnings(
    "ignore:An input array is constant", "ignore::sklearn.exceptions.UndefinedMetricWarning",
    "ignore:A single label was found", "ignore:invalid value encountered", "ignore:.*of length 1",
)  # fmt: skip

Array = np.ndarray
KNOWN = range(LEVELS)
NUMBER = {"cs{}": 2, "acc_within_{}": 1}


def concordance(x: Array, y: Array) -> float:
    shared = ((x - x.mean()) * (y - y.mean())).sum()
    spread = ((x - x.mean()) ** 2).sum() + ((y - y.mean()) ** 2).sum()
    # The library has n - 1 below its variances, and n below the squared distance of the means.
    distance = (len(x) - 1) * (x.mean() - y.mean()) ** 2
    return float(2 * shared / (spread + distance)) if spread + distance else float((x == y).all() and len(x) > 1)


def kappa(x: Array, y: Array) -> float:
    observed, chance = ((x - y) ** 2).mean(), ((x[:, None] - y[None]) ** 2).mean()
    return float(1 - observed / chance) if chance else 1.0


def by_level(x: Array, y: Array, level: Array) -> list[float]:
    return [float(np.abs(x - y)[level == k].mean()) for k in np.unique(level)]


def crps(p: Array, y: Array) -> float:
    centers = SCALE.centers.double().numpy()
    apart = np.abs(centers[:, None] - centers[None])
    return float(np.mean([row @ np.abs(centers - one) - row @ apart @ row / 2 for row, one in zip(p, y, strict=True)]))


def rps(p: Array, y: Array) -> float:
    scores = [sum((row[: k + 1].sum() - (one <= k)) ** 2 for k in KNOWN) for row, one in zip(p, y, strict=True)]
    return float(np.mean(scores))


def correlation(function: Callable[[Array, Array], Any]) -> Callable[[Array, Array], float]:
    """Undefined ones are 0."""
    return lambda x, y: float(np.nan_to_num(function(x, y).statistic)) if len(x) > 1 else 0.0


REFERENCES: dict[str, Callable[..., float]] = {
    "mae": lambda x, y: sk.mean_absolute_error(y, x),
    "rmse": lambda x, y: sk.root_mean_squared_error(y, x),
    "bias": lambda x, y: float(np.mean(x - y)),
    "median_ae": lambda x, y: sk.median_absolute_error(y, x),
    "epsilon": lambda x, y, s: float(np.mean(1 - np.exp(-((x - y) ** 2) / (2 * s**2)))),
    "acc": lambda x, y: sk.accuracy_score(y, x),
    "acc_within_{}": lambda x, y: float((np.abs(x - y) <= 1).mean()),
    "cs{}": lambda x, y: float((np.abs(x - y) <= 2).mean()),
    "qwk": kappa,
    "spearman": correlation(spearmanr),
    "kendall": correlation(kendalltau),
    "plcc": correlation(pearsonr),
    "ccc": concordance,
    "amae": lambda x, y, level: float(np.mean(by_level(x, y, level))),
    "mmae": lambda x, y, level: max(by_level(x, y, level)),
    "min_sensitivity": lambda x, y: float(sk.recall_score(y, x, labels=np.unique(y), average=None).min()),
    "rps": rps,
    "crps": crps,
    "nll": lambda p, y: sk.log_loss(y, p, labels=KNOWN),
    "brier": lambda p, y: float(((p - np.eye(LEVELS)[y]) ** 2).sum(axis=1).mean()),
    "ece": lambda p, y: float(multiclass_calibration_error(torch.from_numpy(p), torch.from_numpy(y), LEVELS)),
}  # fmt: skip


def inputs(case: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return predicted and true values, and predicted and true levels."""
    x, y = draw_values(60, 3)
    a, b = draw_levels(60, 3, (1, 4) if case == "absent" else (0, 1, 2, 3, 4))
    if case == "tied":
        x, y = (x / 5).round() * 5, (y / 5).round() * 5
    elif case == "predictions constant":
        x, a = torch.full_like(x, 7), torch.full_like(a, 2)
    elif case == "targets constant":
        y, b = torch.full_like(y, 7), torch.full_like(b, 2)
    elif case == "both constant":
        x, y, a, b = torch.full_like(x, 7), torch.full_like(y, 9), torch.full_like(a, 2), torch.full_like(b, 3)
    elif case == "equal":
        x, a = y.clone(), b.clone()
    elif case == "alone":
        x, y, a, b = x[:1], y[:1], a[:1], b[:1]
    return x, y, a, b


def test_no_metric_is_left_out() -> None:
    assert set(REFERENCES) == set(METRICS)


@pytest.mark.parametrize(
    "case",
    ["random", "absent", "tied", "predictions constant", "targets constant", "both constant", "equal", "alone"],
)
@pytest.mark.parametrize("key", METRICS)
def test_a_metric_is_its_reference(key: str, case: str) -> None:
    x, y, a, b = inputs(case)
    probabilities = draw_probabilities(len(x), 3)
    given: dict[str, tuple[Tensor, ...]] = {
        "value": (x, y),
        "level": (a, b),
        "value_by_level": (x, y, SCALE.to_level(y)),
        "probabilities": (probabilities, b),
        "distribution": (probabilities, y),
        "spread": (x, y, 1 + (y - 10).abs()),
    }
    measure = METRICS[key]
    metric = measure.make(SCALE, NUMBER.get(key, 0))
    arguments = given[measure.needs]
    # In two parts: a constant is one over all of them, too.
    for part in (slice(0, 7), slice(7, None)):
        if len(arguments[0][part]):
            metric.update(*(one[part] for one in arguments))
    expected = REFERENCES[key](*(one.double().numpy() if one.is_floating_point() else one.numpy() for one in arguments))
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-5, abs=1e-6)
