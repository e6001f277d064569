"""Weights of rare ranks, priors, Balanced MSE and ConR against slow transcriptions and closed forms."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d
from torch.nn import functional

from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import balanced_mse, conr, log_prior, rank_weights, smooth_ranks, weighted_mean
from numclip_lightning.losses.fcrc import fcrc_image_to_text
from numclip_lightning.losses.thresholds import coral_loss, corn_loss

COUNTS = torch.tensor([0.0, 40.0, 7.0, 0.0, 1.0, 12.0, 0.0, 0.0, 0.0])
KINDS: list[Any] = ["inverse", "sqrt", "lds", "sqrt_lds"]


def gaussian(size: int, sigma: float) -> Any:
    reach = np.arange(-(size // 2), size // 2 + 1)
    return np.exp(-(reach**2) / (2 * sigma**2))


@pytest.mark.parametrize(("size", "sigma"), [(5, 2.0), (3, 0.5), (9, 4.0)])
def test_smoothing_is_a_convolution_that_ends_at_the_ends(size: int, sigma: float) -> None:
    kernel = gaussian(size, sigma)
    expected = convolve1d(COUNTS.double().numpy(), kernel / kernel.sum(), mode="constant")
    np.testing.assert_allclose(smooth_ranks(COUNTS, size, sigma).numpy(), expected, rtol=1e-12)


def test_a_kernel_of_one_rank_smooths_nothing() -> None:
    torch.testing.assert_close(smooth_ranks(COUNTS, 1), COUNTS.double())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clip", [1.0, 3.0, 1000.0])
def test_weights_follow_a_slow_loop(kind: Any, clip: float) -> None:
    kernel = gaussian(5, 2.0)
    number = convolve1d(COUNTS.numpy(), kernel / kernel.sum(), mode="constant") if "lds" in kind else COUNTS.numpy()
    plain = []
    for n in number:
        rarity = max(number) / n if n > 0 else math.inf
        plain.append(min(math.sqrt(rarity) if "sqrt" in kind else rarity, clip))
    mean = sum(n * w for n, w in zip(COUNTS.tolist(), plain, strict=True)) / COUNTS.sum().item()
    found = rank_weights(COUNTS, kind, clip)
    np.testing.assert_allclose(found.numpy(), np.array(plain) / mean, rtol=1e-6)
    assert (COUNTS * found).sum().item() == pytest.approx(COUNTS.sum().item())
    if clip == 1:
        assert found.tolist() == [1.0] * 9, "the limit case: all alike"


def test_inverse_weights_give_every_rank_the_same_share() -> None:
    weights = rank_weights(COUNTS, "inverse", clip=1000)
    present = COUNTS > 0
    shares = (weights * COUNTS)[present]
    torch.testing.assert_close(shares, shares.mean().expand_as(shares))


@pytest.mark.parametrize("kind", KINDS)
def test_even_counts_have_weights_of_one(kind: Any) -> None:
    size = 1 if "lds" in kind else 5  # smoothing ends at the ends, which are rarer for it
    assert rank_weights(torch.full((6,), 4.0), kind, size=size).tolist() == [1.0] * 6


def test_weights_without_images_or_of_another_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match="need training images"):
        rank_weights(torch.zeros(3), "inverse")
    with pytest.raises(ConfigError, match="kind is 'invers'; choose one of"):
        rank_weights(COUNTS, "invers")  # type: ignore[arg-type]


def test_the_prior_is_the_share_of_each_rank() -> None:
    prior = log_prior(COUNTS).exp()
    assert prior.sum().item() == pytest.approx(1)
    total = 60 + 5 * 0.5
    torch.testing.assert_close(prior[[1, 4, 0]], torch.tensor([40 / total, 1 / total, 0.5 / total]).double())
    smooth = smooth_ranks(COUNTS).clamp(min=0.5)
    torch.testing.assert_close(log_prior(COUNTS, smooth=True).exp(), smooth / smooth.sum())


LOSSES: dict[str, Any] = {
    "cross_entropy": (functional.cross_entropy, torch.randn(6, 5), torch.arange(6) % 5),
    "soft": (functional.cross_entropy, torch.randn(6, 5), torch.rand(6, 5).softmax(1)),
    "l1": (functional.l1_loss, torch.randn(6), torch.randn(6)),
    "coral": (coral_loss, torch.randn(6, 4), torch.arange(6) % 5),
    "fcrc": (fcrc_image_to_text, torch.randn(6, 5), torch.arange(6) % 5),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_weighted_mean_is_that_of_batches_of_one(name: str) -> None:
    loss, first, second = LOSSES[name]
    first = first.clone().requires_grad_()
    weight = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
    found = weighted_mean(loss, weight, first, second)
    expected = sum(w * loss(first[b : b + 1], second[b : b + 1]) for b, w in enumerate(weight)) / 6
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found, first)
    assert gradient[0].abs().sum() == 0
    assert gradient[1].abs().sum() > 0
    torch.testing.assert_close(weighted_mean(loss, torch.ones(6), first, second), loss(first, second))
    assert torch.equal(weighted_mean(loss, None, first, second), loss(first, second))


def test_corn_weighs_the_answers_of_an_image() -> None:
    logits, rank = torch.randn(5, 4), torch.tensor([0, 4, 2, 1, 3])
    weight = torch.tensor([0.5, 2.0, 0.0, 1.0, 1.5])
    total, asked = 0.0, 0
    for b in range(5):
        for k in range(4):
            if rank[b] >= k:
                sign = 1 if rank[b] > k else -1
                total += weight[b].item() * math.log1p(math.exp(-sign * logits[b, k].item()))
                asked += 1
    assert corn_loss(logits, rank, weight).item() == pytest.approx(total / asked, rel=1e-5)
    assert torch.equal(corn_loss(logits, rank, torch.ones(5)), corn_loss(logits, rank))


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_balanced_mse_follows_its_formula(noise: float) -> None:
    value, target = torch.tensor([1.0, 4.5, 9.0]), torch.tensor([2.0, 4.0, 4.0])
    total = 0.0
    for i in range(3):
        chances = [math.exp(-((value[i] - y).item() ** 2) / (2 * noise**2)) for y in target]
        total -= math.log(chances[i] / sum(chances))
    assert balanced_mse(value, target, noise).item() == pytest.approx(2 * noise**2 * total / 3, rel=1e-4)


def test_balanced_mse_with_much_noise_is_the_squared_error_around_the_batch() -> None:
    value, target = torch.randn(8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    noise = 1e3
    # log sum_j exp(-d_ij / 2 s^2) is log B minus the mean of d_ij / 2 s^2 in the limit.
    distance = (value[:, None] - target).square()
    expected = distance.diagonal().mean() - distance.mean() + 2 * noise**2 * math.log(8)
    torch.testing.assert_close(balanced_mse(value, target, noise), expected, rtol=0, atol=1e-4)


def slow_conr(f: Any, v: Any, y: Any, width: float, weight: Any, t: float = 0.07, push: float = 0.01) -> float:
    f = functional.normalize(f, dim=1)
    total = 0.0
    for i in range(len(y)):
        others = [j for j in range(len(y)) if j != i]
        positives = [j for j in others if abs(y[i] - y[j]) <= width]
        negatives = [j for j in others if abs(y[i] - y[j]) > width and abs(v[i] - v[j]) <= width]
        if positives and negatives:
            below = sum(math.exp(f[i] @ f[p] / t) for p in positives)
            below += sum(weight[i] * math.exp(push * abs(y[i] - y[n]) + f[i] @ f[n] / t) for n in negatives)
            total += sum(-math.log(math.exp(f[i] @ f[p] / t) / below) for p in positives) / len(positives)
    return total / len(y)


@pytest.mark.parametrize("weighted", [False, True])
def test_conr_follows_a_slow_loop(weighted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    f = torch.randn(12, 4, generator=generator, requires_grad=True)
    y = torch.randint(0, 8, (12,), generator=generator).float()
    v = y + torch.randn(12, generator=generator) * 3
    weight = torch.rand(12, generator=generator) + 0.5 if weighted else None
    found = conr(f, v, y, 1.0, weight)
    expected = slow_conr(f.detach().double(), v, y, 1.0, torch.ones(12) if weight is None else weight)
    assert found.item() == pytest.approx(expected, rel=1e-4)
    assert expected > 0
    (gradient,) = torch.autograd.grad(found, f)
    assert gradient.isfinite().all()


def test_conr_is_zero_where_nothing_is_confused() -> None:
    f = torch.randn(4, 3, requires_grad=True)
    target = torch.tensor([0.0, 0.0, 50.0, 90.0])
    loss = conr(f, target.clone(), target, 1.0)
    assert loss.item() == 0
    loss.backward()  # type: ignore[no-untyped-call]
    assert f.grad is not None
    assert f.grad.abs().sum() == 0
    assert conr(f[:1], target[:1], target[:1], 1.0).item() == 0


def test_what_cannot_be_compared_is_refused() -> None:
    one = torch.zeros(2)
    with pytest.raises(ConfigError, match="give one of each"):
        balanced_mse(one, torch.zeros(3), 1.0)
    with pytest.raises(ConfigError, match="noise is 0"):
        balanced_mse(one, one, 0)
    with pytest.raises(ConfigError, match=r"features have shape \(2, 3, 4\)"):
        conr(torch.zeros(2, 3, 4), one, one, 1.0)
    with pytest.raises(ConfigError, match="ConR's width is -1"):
        conr(torch.zeros(2, 3), one, one, -1)
