"""Votes over the values of a scale and the losses of them, against loops, quadrature and SciPy."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.nn import functional

from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import (
    crps_loss,
    distribution_crps,
    distribution_earth_mover,
    earth_mover_loss,
    normal_over_values,
    soft_label_loss,
    soft_vote_loss,
    votes_over_values,
)

VALUES = torch.tensor([1.0, 1.5, 2.5, 4.0, 5.0], dtype=torch.float64)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hat(x: float, place: int) -> float:
    """The share of a vote at x that the value at a place gets."""
    values = VALUES.tolist()
    return float(np.interp(x, values, np.eye(len(values))[place]))


def test_votes_are_divided_as_a_loop_divides_them() -> None:
    votes = draw(6, 7).softmax(dim=1)
    scores = 0.5 + 5 * draw(6, 7, seed=1)  # some are beyond the ends
    expected = [
        [sum(v * hat(s, place) for v, s in zip(row, given, strict=True)) for place in range(5)]
        for row, given in zip(votes.tolist(), scores.tolist(), strict=True)
    ]
    found = votes_over_values(votes, scores, VALUES)
    assert found.tolist() == pytest.approx(np.array(expected), abs=1e-12)
    inside = scores.clamp(1, 5)
    assert found @ VALUES == pytest.approx((votes * inside).sum(dim=1), abs=1e-12)


@pytest.mark.parametrize(("mean", "spread"), [(2.2, 0.7), (4.9, 1.5), (1.0, 0.05), (3.0, 20.0)])
def test_a_normal_distribution_is_divided_as_its_votes_are(mean: float, spread: float) -> None:
    def share(place: int) -> float:
        density = stats.norm(mean, spread).pdf
        points = [*VALUES.tolist(), mean]
        return float(
            integrate.quad(
                lambda x: density(x) * hat(x, place), mean - 9 * spread, mean + 9 * spread, points=points, limit=400
            )[0]
        )

    found = normal_over_values(torch.tensor([mean]), torch.tensor([spread]), VALUES)
    assert found[0].tolist() == pytest.approx([share(place) for place in range(5)], abs=1e-6)
    assert found.sum().item() == pytest.approx(1)


def test_without_spread_a_normal_distribution_is_one_vote() -> None:
    mean = torch.tensor([1.0, 2.0, 4.0, 5.0, 3.1], dtype=torch.float64)
    for spread in (0.0, math.nan, 1e-12):
        found = normal_over_values(mean, torch.full((5,), spread), VALUES)
        assert torch.allclose(found, votes_over_values(torch.ones(5, 1), mean[:, None], VALUES), atol=1e-9)


def test_the_distances_are_those_of_scipy_and_of_a_loop() -> None:
    logits, target = 3 * draw(4, 5), draw(4, 5, seed=3).softmax(dim=1)
    squared = absolute = 0.0
    for z, wanted in zip(logits, target.tolist(), strict=True):
        predicted = z.softmax(dim=0).tolist()
        values = VALUES.tolist()
        assert distribution_earth_mover(z[None], torch.tensor([wanted]), VALUES).item() == pytest.approx(
            stats.wasserstein_distance(values, values, predicted, wanted)
        )
        for place in range(4):
            gap = values[place + 1] - values[place]
            distance = sum(predicted[: place + 1]) - sum(wanted[: place + 1])
            squared += gap * distance**2 / 4
            absolute += gap * abs(distance) / 4
    assert distribution_crps(logits, target, VALUES).item() == pytest.approx(squared)
    assert distribution_earth_mover(logits, target, VALUES).item() == pytest.approx(absolute)


def test_a_single_vote_is_the_loss_of_its_number() -> None:
    logits, rank = draw(4, 5), torch.tensor([0, 3, 4, 1])
    one, number = functional.one_hot(rank, 5).double(), VALUES[rank]
    assert distribution_crps(logits, one, VALUES) == pytest.approx(crps_loss(logits, number, VALUES))
    assert distribution_earth_mover(logits, one, VALUES) == pytest.approx(earth_mover_loss(logits, number, VALUES))
    assert soft_vote_loss(logits, one, VALUES, 0.7) == pytest.approx(soft_label_loss(logits, number, VALUES, 0.7))


def test_the_gradient_is_that_of_the_mean_over_the_votes() -> None:
    """Of the CRPS and of soft labels; the earth mover's distance of several votes is another loss."""
    target = draw(4, 5, seed=5).softmax(dim=1)

    def gradient(loss: Any) -> torch.Tensor:
        logits = draw(4, 5, seed=6).requires_grad_()
        loss(logits).backward()
        assert logits.grad is not None
        return logits.grad

    def mean_of_votes(loss: Any, logits: torch.Tensor) -> torch.Tensor:
        each = [[loss(logits[i : i + 1], VALUES[j : j + 1], VALUES) for j in range(5)] for i in range(4)]
        total: torch.Tensor = sum(target[i, j] * each[i][j] for i in range(4) for j in range(5)) / 4
        return total

    def soft(z: torch.Tensor, y: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return soft_label_loss(z, y, v, 0.5)

    for whole, single in (
        (lambda z: distribution_crps(z, target, VALUES), crps_loss),
        (lambda z: soft_vote_loss(z, target, VALUES, 0.5), soft),
    ):
        expected = gradient(lambda z, single=single: mean_of_votes(single, z))
        assert torch.allclose(gradient(whole), expected, atol=1e-12)


def test_logits_of_another_scale_are_refused() -> None:
    for loss in (distribution_crps, distribution_earth_mover):
        with pytest.raises(ConfigError, match=r"logits have shape \(2, 4\); 2 targets and 5 values take shape"):
            loss(draw(2, 4), draw(2, 5), VALUES)
