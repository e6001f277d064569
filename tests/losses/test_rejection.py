"""CLIPN's losses against slow transcriptions, and what is known of their limits."""

import math

import pytest
import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import agreement, apart_loss, no_loss, yes_loss


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.fixture
def logits() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(5, 4), torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])


def test_the_losses_are_those_of_a_slow_loop(logits: tuple[Tensor, Tensor, Tensor]) -> None:
    yes, no, level = logits
    own, others = 0.0, 0.0
    for b, y in enumerate(level.tolist()):
        p = [sigmoid((yes[b, k] - no[b, k]).item()) for k in range(4)]
        own -= math.log(p[y]) / 5
        mean = sum(abs(y - k) for k in range(4)) / 3
        others -= sum(abs(y - k) / mean * math.log(1 - p[k]) for k in range(4) if k != y) / 15
    assert yes_loss(yes, no, level).item() == pytest.approx(own, rel=1e-6)
    assert no_loss(yes, no, level).item() == pytest.approx(others, rel=1e-6)


def test_the_farthest_level_must_be_refused_the_most() -> None:
    level, calm = torch.tensor([0]), torch.full((1, 5), -4.0)
    costs = []
    for k in range(1, 5):
        wrong = calm.clone()
        wrong[0, k] = 4.0
        costs.append(no_loss(wrong, torch.zeros(1, 5), level).item())
    assert costs == sorted(costs)
    assert costs[-1] > 3 * costs[0]


def test_prototypes_that_are_apart_cost_nothing() -> None:
    t = torch.nn.functional.normalize(torch.randn(3, 8), dim=1)
    assert apart_loss(t, t).item() == pytest.approx(2 - math.sqrt(1e-4), abs=1e-3)
    assert apart_loss(t, -t).item() == pytest.approx(0, abs=1e-3)


def test_agreement_is_the_probability_that_any_level_is_shown(logits: tuple[Tensor, Tensor, Tensor]) -> None:
    yes, no, _ = logits
    assert agreement(yes, yes).tolist() == pytest.approx([0.5] * 5)
    s = 7.0
    alone = torch.tensor([[s, 0.0, 0.0]])
    # f is the first prototype, t' = -t: p is sigmoid(2 s) there.
    expected = sum(
        weight * sigmoid(2 * z) for weight, z in zip(alone.softmax(1)[0].tolist(), alone[0].tolist(), strict=True)
    )
    assert agreement(alone, -alone).item() == pytest.approx(expected, rel=1e-6)
    assert (agreement(yes, no) <= (yes - no).sigmoid().max(dim=1).values + 1e-6).all()


def test_logits_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="give one logit of each"):
        yes_loss(torch.zeros(2, 3), torch.zeros(2, 2), torch.tensor([0, 1]))
    with pytest.raises(ConfigError, match="one int64 level"):
        no_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0]))
