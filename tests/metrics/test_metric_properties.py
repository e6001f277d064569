"""Metrics on drawn inputs (random, tied, constant, single): within their bounds, and equal to other libraries."""

import math
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk
from torch import Tensor

from numclip_lightning.metrics.choice import build_metrics, choose
from numclip_lightning.scale import Level, OrdinalScale
from support.properties import holds_for

SCALE = OrdinalScale(
    0, 20, levels=[Level(phrase, start) for phrase, start in zip("abcde", (0, 1, 5, 6, 15), strict=True)]
)
SHARES = ("acc", "acc_within_1", "cs2", "min_sensitivity", "ece")
CORRELATIONS = ("spearman", "kendall", "plcc", "ccc", "qwk")
# Few different numbers, so that many are tied; and any.
targets = st.one_of(st.integers(0, 3), st.integers(0, 20))
values = st.one_of(st.integers(-2, 4).map(float), st.floats(-5, 25, width=32))


def measured(keys: Sequence[str], value: Tensor, target: Tensor, probabilities: Tensor) -> dict[str, float]:
    """The metrics of one batch, as a method's steps update them."""
    level, predicted = SCALE.to_level(target), probabilities.argmax(1)
    given = {
        "value": (value, target), "value_by_level": (value, target, level), "level": (predicted, level),
        "probabilities": (probabilities, level), "distribution": (probabilities, target),
    }  # fmt: skip
    found: dict[str, float] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for needs, collection in build_metrics(keys, SCALE).items():
            collection.update(*given[needs])
            found |= {key: float(number) for key, number in collection.compute().items()}
    return found


@st.composite
def answers(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    pairs = draw(st.lists(st.tuples(values, targets), min_size=1, max_size=12))
    rows = draw(st.lists(st.lists(st.floats(-8, 8), min_size=5, max_size=5), min_size=len(pairs), max_size=len(pairs)))
    value, target = (torch.tensor([float(pair[i]) for pair in pairs]) for i in (0, 1))
    return value, target, torch.tensor(rows).softmax(1)


@holds_for(answers(), few=12)
def test_all_are_within_their_bounds_whatever_the_input(case: tuple[Tensor, Tensor, Tensor]) -> None:
    keys = choose(["all", "acc_within_1", "cs2"], 2.0)
    found = measured(keys, *case)
    assert found.keys() == set(keys)
    for key, number in found.items():
        assert math.isfinite(number), key
        if key in SHARES:
            assert 0 <= number <= 1 + 1e-6, key
        elif key in CORRELATIONS:
            assert -1 - 1e-5 <= number <= 1 + 1e-5, key
        elif key != "bias":
            assert number >= -1e-6, key
    assert found["acc"] <= found["acc_within_1"] + 1e-6
    assert abs(found["bias"]) <= found["mae"] + 1e-5
    assert found["mae"] <= found["rmse"] + 1e-4
    assert found["amae"] <= found["mmae"] + 1e-5


@holds_for(answers(), few=12)
def test_they_equal_other_libraries(case: tuple[Tensor, Tensor, Tensor]) -> None:
    value, target, probabilities = case
    found = measured(["mae", "rmse", "median_ae", "spearman", "kendall", "plcc", "acc", "qwk", "nll"], *case)
    v, y = value.double().numpy(), target.double().numpy()
    level, predicted = SCALE.to_level(target).numpy(), probabilities.argmax(1).numpy()
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(y, v), abs=1e-4)
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(y, v), abs=1e-3)
    assert found["acc"] == pytest.approx(sk.accuracy_score(level, predicted))
    nll = -np.log(probabilities.double().numpy()[np.arange(len(level)), level]).mean()
    assert found["nll"] == pytest.approx(nll, rel=1e-4, abs=1e-5)
    with warnings.catch_warnings():
        # Of constants a correlation is none, which ours count as 0.
        warnings.simplefilter("ignore")
        if np.ptp(v) > 0.1 and np.ptp(y):
            assert found["spearman"] == pytest.approx(stats.spearmanr(v, y).statistic, abs=1e-4)
            assert found["kendall"] == pytest.approx(stats.kendalltau(v, y).statistic, abs=1e-4)
            assert found["plcc"] == pytest.approx(stats.pearsonr(v, y).statistic, abs=1e-3)
        kappa = sk.cohen_kappa_score(level, predicted, weights="quadratic", labels=range(5))
        if math.isfinite(kappa):
            assert found["qwk"] == pytest.approx(kappa, abs=1e-4)


@holds_for(answers(), st.integers(1, 11), few=8)
def test_two_batches_are_one(case: tuple[Tensor, Tensor, Tensor], cut: int) -> None:
    value, target, probabilities = case
    for needs, collection in build_metrics(["mae", "spearman", "kendall", "qwk", "rps", "crps", "amae"], SCALE).items():
        level = SCALE.to_level(target)
        given: tuple[Tensor, ...] = {
            "value": (value, target), "value_by_level": (value, target, level),
            "level": (probabilities.argmax(1), level), "probabilities": (probabilities, level),
            "distribution": (probabilities, target),
        }[needs]  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole = collection.clone()
            whole.update(*given)
            for rows in (slice(cut), slice(cut, None)):
                if len(given[0][rows]):
                    collection.update(*(part[rows] for part in given))
            for key, number in collection.compute().items():
                assert float(number) == pytest.approx(float(whole.compute()[key]), abs=1e-4), key
