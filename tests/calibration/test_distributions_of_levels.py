"""Distributions over numbers from the probabilities of levels, and temperatures: against slow references and SciPy."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from numclip_lightning.calibration import (
    LevelValues,
    fit_temperature,
    level_quantiles,
    level_spread,
    with_temperature,
)
from numclip_lightning.calibration.distributions import cumulative_at
from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.scale import OrdinalScale

AGES = LevelValues((0, 13, 19, 35, 65), (12, 18, 34, 64, 99), 1)
SHARES = np.random.default_rng(0).dirichlet(np.full(5, 0.7), 40)


def over_values(shares: np.ndarray) -> np.ndarray:
    """Spread the probability of each level over its ages, 0..99, by a loop."""
    found = np.zeros((len(shares), 100))
    for level, (low, high) in enumerate(zip(AGES.lower, AGES.upper, strict=True)):
        for age in range(int(low), int(high) + 1):
            found[:, age] = shares[:, level] / (high - low + 1)
    return found


class TestDistributions:
    def test_spread_is_that_over_the_values(self) -> None:
        ages, whole = np.arange(100), over_values(SHARES)
        mean = whole @ ages
        np.testing.assert_allclose(level_spread(SHARES, AGES), np.sqrt(whole @ ages**2 - mean**2))

    @pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
    def test_so_much_lies_below_a_quantile(self, share: float) -> None:
        found = level_quantiles(SHARES, AGES, share)
        np.testing.assert_allclose(cumulative_at(SHARES, AGES, found), share, atol=1e-9)
        assert found.min() >= -0.5
        assert found.max() <= 99.5

    def test_so_much_lies_below_half_past_each_age(self) -> None:
        cumulative = over_values(SHARES).cumsum(axis=1)
        for age in (0, 12, 13, 40, 99):
            np.testing.assert_allclose(
                cumulative_at(SHARES, AGES, np.full(40, age + 0.5)), cumulative[:, age], atol=1e-12
            )

    def test_levels_are_those_of_the_scale(self) -> None:
        scale = OrdinalScale(0, 5, step=0.5, levels=[{"phrase": "a", "start": 0}, {"phrase": "b", "start": 1.5}])
        values = LevelValues.of(scale)
        numbers = torch.linspace(-1, 6, 141, dtype=torch.float64)
        assert values.level_at(numbers.numpy()).tolist() == scale.level_at(numbers).tolist()
        assert (values.minimum, values.maximum) == (0, 5)

    def test_refuses_levels_that_do_not_follow_each_other(self) -> None:
        with pytest.raises(ConfigError, match="do not follow each other"):
            LevelValues((0, 5), (3, 9), 1)

    def test_refuses_another_number_of_levels(self) -> None:
        with pytest.raises(ConfigError, match="probabilities of 2 levels; the scale has 5"):
            level_spread([[0.5, 0.5]], AGES)


class TestTemperature:
    def labels(self, logits: np.ndarray) -> np.ndarray:
        random = np.random.default_rng(1)
        return np.array([random.choice(5, p=row) for row in softmax(logits, axis=1)])

    @pytest.mark.parametrize("by", ["nll", "rps"])
    def test_is_where_scipy_finds_the_least_score(self, by: str) -> None:
        logits = 2 * np.random.default_rng(0).standard_normal((400, 5))
        level = self.labels(logits)

        def score(log_t: float) -> float:
            shares = softmax(3 * logits / np.exp(log_t), axis=1)
            if by == "nll":
                return float(-np.log(shares[range(400), level]).mean())
            return float(
                np.mean(
                    [((row.cumsum() - (y <= np.arange(5))) ** 2).sum() for row, y in zip(shares, level, strict=True)]
                )
            )

        expected = minimize_scalar(score, bounds=(-2, 3), method="bounded", options={"xatol": 1e-7})
        found = fit_temperature(softmax(3 * logits, axis=1), level, by)  # type: ignore[arg-type]
        assert np.log(found.value) == pytest.approx(expected.x, abs=1e-4)
        assert found.after == pytest.approx(expected.fun)
        assert found.before == pytest.approx(score(0))

    def test_of_three_times_the_logits_is_three_times_as_high(self) -> None:
        logits = 2 * np.random.default_rng(0).standard_normal((400, 5))
        level = self.labels(logits)
        one, three = (softmax(factor * logits, axis=1) for factor in (1, 3))
        found = [fit_temperature(shares, level).value for shares in (one, three)]
        assert found[1] == pytest.approx(3 * found[0], rel=1e-3)
        np.testing.assert_allclose(with_temperature(one, found[0]), with_temperature(three, found[1]), atol=1e-4)

    def test_leaves_the_most_probable_level(self) -> None:
        assert (with_temperature(SHARES, 4.0).argmax(1) == SHARES.argmax(1)).all()

    def test_refuses_no_images_and_other_levels(self) -> None:
        with pytest.raises(DataError, match="one image or more"):
            fit_temperature(np.zeros((0, 5)), [])
        with pytest.raises(DataError, match=r"levels of 0\.\.4"):
            fit_temperature(SHARES, [5] * 40)
