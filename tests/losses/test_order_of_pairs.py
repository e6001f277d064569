"""Losses of neighbouring levels, of pairs, and of cumulative distributions, against loops over their formulas."""

import math
from statistics import NormalDist

import pytest
import torch
from scipy.stats import wasserstein_distance

from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import crps_loss, earth_mover_loss, neighbour_order, pair_fidelity

VALUES = torch.tensor([0.0, 1.0, 3.0, 10.0])


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_neighbours_are_compared_away_from_the_true_level() -> None:
    logits, level = 3 * random(5, 4), torch.tensor([0, 1, 2, 3, 1])
    total = 0.0
    for z, y in zip(logits.tolist(), level.tolist(), strict=True):
        for near, far in [
            *((y + k - 1, y + k) for k in range(1, 4 - y)),
            *((y - k + 1, y - k) for k in range(1, y + 1)),
        ]:
            total -= math.log(math.exp(z[near]) / (math.exp(z[near]) + math.exp(z[far])))
    assert neighbour_order(logits, level).item() == pytest.approx(total / 5)


def test_logits_that_fall_on_both_sides_cost_nothing_and_a_reversed_pair_costs() -> None:
    level = torch.tensor([1])
    falling = 100.0 * torch.tensor([[-1.0, 0.0, -1.0, -2.0]])
    assert neighbour_order(falling, level).item() == pytest.approx(0, abs=1e-30)
    assert neighbour_order(falling[:, [0, 1, 3, 2]], level).item() == pytest.approx(100)
    assert neighbour_order(torch.zeros(3, 1), torch.tensor([0, 0, 0])).item() == 0, "a single level has no neighbours"


def test_fidelity_is_that_of_thurstones_chances() -> None:
    value, target = 2 * random(5), torch.tensor([3.0, 1.0, 3.0, 7.0, 2.0])
    costs = []
    for a in range(5):
        for b in range(a + 1, 5):
            chance = NormalDist().cdf((value[a] - value[b]).item() / math.sqrt(2))
            truth = 0.5 if target[a] == target[b] else float(target[a] > target[b])
            costs.append(1 - math.sqrt(truth * chance) - math.sqrt((1 - truth) * (1 - chance)))
    assert pair_fidelity(value, target).item() == pytest.approx(sum(costs) / 10)


def test_fidelity_is_finite_with_its_gradient_for_pairs_that_are_far_apart_or_none() -> None:
    value = torch.tensor([0.0, 60.0, -60.0], requires_grad=True)
    loss = pair_fidelity(value, torch.tensor([3.0, 1.0, 3.0]))
    assert 0 < loss.item() <= 1
    loss.backward()  # type: ignore[no-untyped-call]
    assert value.grad is not None
    assert value.grad.isfinite().all()
    assert pair_fidelity(torch.tensor([1.0]), torch.tensor([2.0])).item() == 0


def test_the_earth_movers_distance_is_scipys() -> None:
    logits, target = random(4, 4), torch.tensor([0.0, 1.0, 3.0, 10.0])
    expected = [
        wasserstein_distance(VALUES.tolist(), [y], u_weights=row.softmax(dim=0).tolist())
        for row, y in zip(logits, target.tolist(), strict=True)
    ]
    assert earth_mover_loss(logits, target, VALUES).item() == pytest.approx(sum(expected) / 4)


def test_on_an_even_scale_the_crps_is_the_squared_earth_movers_distance() -> None:
    logits, rank, values = random(4, 5), torch.tensor([0, 2, 4, 1]), torch.arange(5.0)
    truth = (torch.arange(5) >= rank[:, None]).double()
    squared = (logits.softmax(dim=1).cumsum(dim=1) - truth).square().sum(dim=1).mean()
    assert crps_loss(logits, rank.double(), values).item() == pytest.approx(squared.item())


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"level is torch\.float32"):
        neighbour_order(torch.zeros(2, 3), torch.zeros(2))
    with pytest.raises(ConfigError, match=r"value and target have the shapes \(2,\) and \(3,\)"):
        pair_fidelity(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ConfigError, match=r"2 targets and 4 values take shape \(2, 4\)"):
        earth_mover_loss(torch.zeros(2, 3), torch.zeros(2), VALUES)
