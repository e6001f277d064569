"""The losses of order against slow transcriptions of their formulas in float64."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import image_order, pair_ranking, prompt_order

VALUES = [0.0, 1.0, 2.5, 7.0, 20.0]


def unit(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(rows, 6, generator=generator, dtype=torch.float64), dim=1)


def distance(a: Tensor, b: Tensor) -> float:
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True)))


def slow_image_order(f: Tensor, t: Tensor, y: list[int]) -> float:
    gaps = [[abs(VALUES[i] - value) for value in VALUES] for i in y]
    low, high = min(map(min, gaps)), max(map(max, gaps))
    pull = sum(distance(f[b], t[i]) ** 2 for b, i in enumerate(y)) / len(y)
    push = [(gaps[b][a] - low) / high * distance(f[b], t[a]) for b in range(len(y)) for a in range(len(VALUES))]
    return pull - sum(push) / len(push)


def slow_prompt_order(f: Tensor, t: Tensor, y: list[int]) -> float:
    pairs = [(i, j) for i in range(len(y)) for j in range(i + 1, len(y))]
    pull = sum(distance(f[b], t[i]) ** 2 for b, i in enumerate(y)) / len(y)
    gaps = [abs(VALUES[y[i]] - VALUES[y[j]]) for i, j in pairs]
    if not gaps or not max(gaps):
        return 0.5 * pull
    weights = [(gap - min(gaps)) / max(gaps) for gap in gaps]
    to_images = sum(w * distance(f[i], t[y[j]]) for w, (i, j) in zip(weights, pairs, strict=True)) / len(pairs)
    to_texts = sum(w * distance(t[y[i]], t[y[j]]) for w, (i, j) in zip(weights, pairs, strict=True)) / len(pairs)
    return -to_images - 0.5 * to_texts + 0.5 * pull


@pytest.mark.parametrize("ranks", [[0, 3, 1, 4, 2, 2], [1, 1, 1], [4], [0, 4]])
@pytest.mark.parametrize(("fast", "slow"), [(image_order, slow_image_order), (prompt_order, slow_prompt_order)])
def test_the_ordering_losses_follow_their_formulas(fast: Any, slow: Any, ranks: list[int]) -> None:
    features, prototypes = unit(len(ranks), 1), unit(len(VALUES), 2)
    found = fast(features, prototypes, torch.tensor(ranks), torch.tensor(VALUES, dtype=torch.float64))
    assert found.item() == pytest.approx(slow(features, prototypes, ranks), rel=1e-12)


@pytest.mark.parametrize("loss", [image_order, prompt_order])
def test_equal_features_have_a_finite_gradient(loss: Any) -> None:
    # Images of one rank share a prompt, and an image may come to lie on it: a square root of 0.
    features = unit(3, 1).requires_grad_()
    prototypes = features.detach()[[0, 1, 2, 2, 2]].clone().requires_grad_()
    loss(features, prototypes, torch.tensor([0, 2, 2]), torch.tensor(VALUES, dtype=torch.float64)).backward()
    for tensor in (features, prototypes):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


@pytest.mark.parametrize("loss", [image_order, prompt_order])
def test_half_precision_is_computed_in_float32(loss: Any) -> None:
    features, prototypes, rank = unit(4, 1).bfloat16(), unit(5, 2).bfloat16(), torch.tensor([0, 4, 2, 1])
    values = torch.tensor(VALUES)
    found = loss(features, prototypes, rank, values)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(features.float(), prototypes.float(), rank, values), rtol=0, atol=0)


def test_image_order_moves_an_image_to_its_prompt_and_away_from_the_most_distant() -> None:
    prototypes = torch.eye(5, 6, dtype=torch.float64)
    values = torch.tensor(VALUES, dtype=torch.float64)
    feature = normalize(torch.ones(1, 6, dtype=torch.float64)).requires_grad_()
    image_order(feature, prototypes, torch.tensor([0]), values).backward()  # type: ignore[no-untyped-call]
    assert feature.grad is not None
    downhill = -feature.grad[0]
    assert downhill[0] > 0
    assert downhill[4] == downhill.min()
    assert downhill[4] < 0


@pytest.mark.parametrize("loss", [image_order, prompt_order])
@pytest.mark.parametrize(
    ("features", "prototypes", "rank"), [((2, 6), (5, 6), [0]), ((1, 6), (4, 6), [0]), ((0, 6), (5, 6), [])]
)
def test_shapes_that_do_not_fit_are_refused(loss: Any, features: Any, prototypes: Any, rank: list[int]) -> None:
    with pytest.raises(ConfigError, match="give one rank for each image, at least one, and one value for each"):
        loss(torch.ones(features), torch.ones(prototypes), torch.tensor(rank, dtype=torch.long), torch.tensor(VALUES))


def test_pair_ranking_follows_its_formula_and_leaves_ties_out() -> None:
    logits = torch.randn(5, 5, dtype=torch.float64) * 3
    targets = [3.0, 1.0, 3.0, 7.0, 1.0]
    asked = []
    for a, first in enumerate(targets):
        for b, second in enumerate(targets):
            if first != second:
                chance = 1 / (1 + math.exp(-logits[a, b].item()))
                asked.append(-math.log(chance if first > second else 1 - chance))
    assert len(asked) == 16
    found = pair_ranking(logits, torch.tensor(targets))
    assert found.item() == pytest.approx(sum(asked) / len(asked), rel=1e-12)

    logits[0, 2] = logits[1, 4] = logits[3, 3] = 1e4  # ties and self-pairs
    assert pair_ranking(logits, torch.tensor(targets)).item() == pytest.approx(found.item(), rel=1e-12)


def test_pair_ranking_of_equal_targets_is_zero_without_gradient() -> None:
    for number in (1, 3):
        logits = torch.randn(number, number, requires_grad=True)
        loss = pair_ranking(logits, torch.full((number,), 2.0))
        loss.backward()  # type: ignore[no-untyped-call]
        assert loss.item() == 0
        assert logits.grad is not None
        assert not logits.grad.any()


def test_pair_ranking_refuses_logits_of_another_batch() -> None:
    with pytest.raises(ConfigError, match=r"shape \(2, 3\) for 2 targets; give one for each ordered pair"):
        pair_ranking(torch.zeros(2, 3), torch.zeros(2))
