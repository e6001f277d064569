"""Heads on image features, and ranks read from the chances of lying beyond each threshold."""

import math
from typing import Any

import pytest
import torch
from coral_pytorch.dataset import proba_to_label
from coral_pytorch.layers import CoralLayer
from torch import Tensor
from torch.nn import functional

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.image_heads import CoralHead, CosineHead, LinearHead
from numclip_lightning.models.thresholds import decode_rank, rank_log_probabilities

HEADS = [LinearHead(6, 4), CosineHead(6, 4), CoralHead(6, 5)]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
def test_a_head_sees_the_direction_of_features_and_not_their_length(head: Any) -> None:
    features = torch.randn(3, 6)
    torch.testing.assert_close(head(1000 * features), head(features), rtol=1e-4, atol=1e-4)
    assert head(torch.zeros(1, 6)).isfinite().all()
    assert head(features).shape == (3, 4)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
def test_a_head_computes_in_float32_under_autocast(head: Any) -> None:
    features = torch.randn(3, 6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = head(features)
    assert found.dtype == torch.float32
    assert torch.equal(found, head(features.float()))


def test_the_linear_head_follows_its_formula() -> None:
    head, features = LinearHead(6, 2).double(), torch.randn(3, 6, dtype=torch.float64)
    for row, found in zip(features.tolist(), head(features).tolist(), strict=True):
        size = math.sqrt(math.fsum(x * x for x in row) / 6)
        for weights, bias, number in zip(head.weight.tolist(), head.bias.tolist(), found, strict=True):
            assert number == pytest.approx(bias + math.fsum(w * x / size for w, x in zip(weights, row, strict=True)))


def test_the_cosine_head_gives_a_hundred_cosines() -> None:
    head, features = CosineHead(6, 4), torch.randn(3, 6)
    expected = 100 * functional.cosine_similarity(features[:, None], head.directions[None], dim=2)
    torch.testing.assert_close(head(features), expected)


def test_the_coral_head_is_the_layer_of_its_authors() -> None:
    torch.manual_seed(3)
    head, theirs = CoralHead(6, 5), CoralLayer(6, 5)
    with torch.no_grad():
        theirs.coral_weights.weight.copy_(head.score.weight)
    features = torch.randn(3, 6)
    levelled = features / features.square().mean(dim=1, keepdim=True).sqrt()
    torch.testing.assert_close(head(features), theirs(levelled))


def slow_classes(beyond: list[float]) -> list[float]:
    """The differences of chances that have been made to fall."""
    falling = [1.0]
    for chance in beyond:
        falling.append(min(chance, falling[-1]))
    return [high - low for high, low in zip(falling, [*falling[1:], 0.0], strict=True)]


def test_class_probabilities_are_differences_of_cumulative_ones() -> None:
    logits = 2 * torch.randn(20, 7, dtype=torch.float64)  # of no order, as CORAL may learn them
    log_beyond = functional.logsigmoid(logits)
    found = rank_log_probabilities(log_beyond)
    for row, beyond in zip(found.exp().tolist(), log_beyond.exp().tolist(), strict=True):
        assert row == pytest.approx(slow_classes(beyond), abs=1e-12)
        assert math.fsum(row) == pytest.approx(1)


@pytest.mark.parametrize("height", [30.0, -30.0, 1000.0, -1000.0])
def test_class_probabilities_stay_finite_and_keep_their_digits(height: float) -> None:
    for conditional in (False, True):
        log_beyond = functional.logsigmoid(torch.full((1, 5), height))
        log_beyond = log_beyond.cumsum(dim=1) if conditional else log_beyond
        found = rank_log_probabilities(log_beyond)
        assert found.isfinite().all()
        assert found.exp().sum().item() == pytest.approx(1)
        assert found.argmax(dim=1).item() == (5 if height > 0 else 0)
    # P(y = 0) = 1 - sigmoid(30), which float32 can't tell from 0 by subtraction.
    first = rank_log_probabilities(functional.logsigmoid(torch.tensor([[30.0]])))[0, 0]
    assert first.item() == pytest.approx(-30, rel=1e-5)


def test_ranks_are_decoded_as_by_the_authors() -> None:
    logits = 3 * torch.randn(50, 6)
    for log_beyond in (functional.logsigmoid(logits), functional.logsigmoid(logits).cumsum(dim=1)):
        assert decode_rank(log_beyond, "median").tolist() == proba_to_label(log_beyond.exp()).tolist()


@pytest.mark.parametrize("decode", ["median", "expectation"])
def test_thresholds_that_are_no_numbers_give_none(decode: Any) -> None:
    log_beyond = torch.tensor([[0.9, 0.6, 0.2], [0.9, torch.nan, torch.nan]]).log()
    assert decode_rank(log_beyond, decode).isnan().tolist() == [False, True]


def test_the_expectation_is_that_of_the_class_probabilities() -> None:
    log_beyond = functional.logsigmoid(torch.randn(20, 6, dtype=torch.float64)).cumsum(dim=1)
    ranks: Tensor = rank_log_probabilities(log_beyond).exp() @ torch.arange(7, dtype=torch.float64)
    torch.testing.assert_close(decode_rank(log_beyond, "expectation"), ranks)


def test_an_unknown_decoding_is_refused() -> None:
    wrong: Any = "argmax"
    with pytest.raises(ConfigError, match="decode is 'argmax'; choose one of 'median', 'expectation'"):
        decode_rank(torch.zeros(1, 3), wrong)
