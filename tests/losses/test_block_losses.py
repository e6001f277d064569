"""Losses of blocks: counts by block, and the zero-inflated Poisson likelihood."""

import numpy as np
import pytest
import torch
from scipy.stats import poisson

from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import block_counts, zero_inflated_poisson


@pytest.mark.parametrize("grid", [(2, 2), (3, 5), (7, 9), (1, 1)])
def test_each_thing_is_counted_in_one_block(grid: tuple[int, int]) -> None:
    places = torch.randint(0, 3, (2, 7, 9), dtype=torch.uint8)
    found = block_counts(places, *grid)
    expected = torch.zeros(2, *grid)
    for image in range(2):
        for y in range(7):
            for x in range(9):
                expected[image, y * grid[0] // 7, x * grid[1] // 9] += places[image, y, x]
    assert torch.equal(found, expected)


def test_more_blocks_than_pixels_are_refused() -> None:
    with pytest.raises(ConfigError, match="8x2 blocks are more than the 7x9 pixels"):
        block_counts(torch.zeros(1, 7, 9), 8, 2)


def test_the_likelihood_is_that_of_scipy_mixed_with_zero() -> None:
    counts = np.arange(6.0)
    for empty, rate in ((0.3, 2.0), (0.0, 0.5), (0.9, 7.0)):
        zero = torch.tensor([empty, 1 - empty], dtype=torch.float64).log().expand(6, 2)
        found = zero_inflated_poisson(zero, torch.full((6,), rate, dtype=torch.float64), torch.from_numpy(counts))
        expected = -np.log(empty * (counts == 0) + (1 - empty) * poisson.pmf(counts, rate))
        np.testing.assert_allclose(found, expected, atol=1e-12)
