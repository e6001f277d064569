"""The losses of a distribution over values: soft labels by width and CRPS, against slow loops and identities."""

import math

import pytest
import torch

from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import crps_loss, soft_label_loss

VALUES = torch.tensor([1.0, 2.0, 4.0, 8.0, 9.5], dtype=torch.float64)
TARGETS = torch.tensor([1.0, 2.5, 4.0, 9.5, 7.9, 3.0], dtype=torch.float64)


def logits() -> torch.Tensor:
    return 3 * torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_crps_is_the_distance_to_the_target_less_half_the_distance_within() -> None:
    expected = []
    for row, y in zip(logits().softmax(dim=1).tolist(), TARGETS.tolist(), strict=True):
        pairs = [(p, v) for p, v in zip(row, VALUES.tolist(), strict=True)]
        to_target = sum(p * abs(v - y) for p, v in pairs)
        within = sum(p * q * abs(v - w) for p, v in pairs for q, w in pairs)
        expected.append(to_target - within / 2)
    assert crps_loss(logits(), TARGETS, VALUES).item() == pytest.approx(sum(expected) / 6, rel=1e-12)


def test_crps_of_a_certain_reading_is_its_absolute_error() -> None:
    certain = torch.full((1, 5), -1e4).index_fill(1, torch.tensor([1]), 0.0)
    assert crps_loss(certain, torch.tensor([7.0]), VALUES.float()).item() == pytest.approx(5.0)


def test_crps_and_soft_labels_have_the_gradients_of_finite_differences() -> None:
    z = logits().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: crps_loss(z, TARGETS, VALUES), z)
    assert torch.autograd.gradcheck(lambda z: soft_label_loss(z, TARGETS, VALUES, 1.5), z)


def test_soft_labels_follow_the_definition() -> None:
    width, expected = 1.5, 0.0
    for row, y in zip(logits().tolist(), TARGETS.tolist(), strict=True):
        shares = [math.exp(-((y - v) ** 2) / (2 * width**2)) for v in VALUES.tolist()]
        norm = math.log(sum(math.exp(z) for z in row))
        expected -= sum(s / sum(shares) * (z - norm) for s, z in zip(shares, row, strict=True))
    assert soft_label_loss(logits(), TARGETS, VALUES, width).item() == pytest.approx(expected / 6, rel=1e-12)


def test_narrow_labels_are_the_nearest_value() -> None:
    nearest = torch.tensor([0, 1, 2, 4, 3, 1])
    targets = TARGETS - 0.01  # 3.0 is as far from 2 as from 4
    expected = torch.nn.functional.cross_entropy(logits(), nearest)
    assert soft_label_loss(logits(), targets, VALUES, 1e-3).item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("loss", [crps_loss, lambda z, y, v: soft_label_loss(z, y, v, 1.0)])
def test_logits_of_another_scale_are_refused(loss: object) -> None:
    assert callable(loss)
    with pytest.raises(ConfigError, match=r"take shape \(6, 4\)"):
        loss(logits(), TARGETS, VALUES[:4])
