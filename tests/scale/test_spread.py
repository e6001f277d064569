"""The spread of a predicted distribution, over levels and over values, against the plain formula."""

import numpy as np
import pytest
import torch

from numclip_lightning.scale import OrdinalScale
from numclip_lightning.scale.spread import SHARES, class_moments, quantiles_of, spread_of

AGES = OrdinalScale(
    0, 9, levels=[{"phrase": "a", "start": 0}, {"phrase": "b", "start": 4}, {"phrase": "c", "start": 9}]
)


def plain(shares: np.ndarray) -> np.ndarray:
    ages = np.arange(10)
    spread: np.ndarray = np.sqrt(shares @ ages**2 - (shares @ ages) ** 2)
    return spread


def test_over_values_is_the_standard_deviation() -> None:
    logits = torch.randn(6, 10, dtype=torch.float64)
    np.testing.assert_allclose(spread_of(logits, AGES), plain(logits.softmax(1).numpy()), rtol=1e-6)


def test_over_levels_is_that_of_their_values() -> None:
    logits = torch.randn(6, 3, dtype=torch.float64)
    p = logits.softmax(1).numpy()
    whole = np.repeat(p / np.array([4, 5, 1]), [4, 5, 1], axis=1)
    np.testing.assert_allclose(spread_of(logits, AGES), plain(whole), rtol=1e-5)


def test_a_certain_level_is_no_distribution() -> None:
    logits = torch.tensor([[0.0, -torch.inf, -torch.inf], [0.0, 0.0, -torch.inf]])
    found = spread_of(logits, AGES)
    assert found[0].isnan()
    assert found[1] == pytest.approx(plain(np.repeat([1 / 8, 0.1, 0.0], [4, 5, 1])[None])[0], rel=1e-5)


def test_where_levels_are_values_they_have_no_width() -> None:
    means, variances = class_moments(OrdinalScale(0, 4), 5)
    assert means.tolist() == [0, 1, 2, 3, 4]
    assert variances.tolist() == [0] * 5


def test_quantiles_are_those_of_the_whole_distribution_each_value_being_a_step_wide() -> None:
    logits = torch.randn(7, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 3
    found = quantiles_of(logits, AGES).numpy()
    edges = np.arange(11) - 0.5
    for row, shares in zip(found, logits.softmax(1).numpy(), strict=True):
        # Where the sum of probabilities reaches each share.
        expected = np.interp(SHARES, np.concatenate([[0.0], np.cumsum(shares)]), edges)
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_a_value_without_probability_is_passed_over_and_a_certain_one_is_a_step() -> None:
    logits = torch.full((2, 10), -torch.inf)
    logits[0, [2, 7]] = 0.0
    logits[1, 9] = 0.0
    found = quantiles_of(logits, AGES, [0.25, 0.5, 0.75, 0.9])
    np.testing.assert_allclose(found, [[2.0, 2.5, 7.0, 7.3], [8.75, 9.0, 9.25, 9.4]], atol=1e-5)
    assert quantiles_of(torch.full((1, 10), torch.nan), AGES).isnan().all()
    assert quantiles_of(torch.zeros(4, 3), AGES).shape == (4, 0)


def test_quantiles_of_thousands_of_values_are_exact_to_a_value() -> None:
    scale = OrdinalScale(0, 9999, levels=[{"phrase": "a", "start": 0}, {"phrase": "b", "start": 5000}])
    found = quantiles_of(torch.zeros(1, 10_000), scale, [0.005, 0.3, 0.995])
    np.testing.assert_allclose(found, [[49.5, 2999.5, 9949.5]], atol=2e-3)
