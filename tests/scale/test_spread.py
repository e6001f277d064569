"""The spread of a predicted distribution, over levels and over values, against the plain formula."""

import numpy as np
import pytest
import torch

from numclip_lightning.scale import OrdinalScale
from numclip_lightning.scale.spread import class_moments, spread_of

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
