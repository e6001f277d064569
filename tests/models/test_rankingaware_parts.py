"""RankingAwareCLIP's adapter against its definition, pair by pair."""

import math

import pytest
import torch

from numclip_lightning.errors import ConfigError
from numclip_lightning.models import rankingaware as ranking
from numclip_lightning.models.rankingaware import PairHead, RankingAdapter, ValueHead


@torch.no_grad()
def test_pairs_attend_to_the_tokens_of_both_images() -> None:
    head = PairHead(8, 3).double()
    tokens = torch.randn(4, 5, 8, dtype=torch.float64)
    found = head(tokens)
    for a in range(4):
        for b in range(4):
            keys = torch.cat([head.keys(tokens[a]), head.keys(tokens[b])])
            attention = (head.queries @ keys.T / math.sqrt(8)).softmax(dim=1)
            difference = attention[:, :5] @ keys[:5] - attention[:, 5:] @ keys[5:]
            projected = difference @ head.out.weight.T
            expected = head.layers(projected.sum(dim=0) + head.out.bias)
            torch.testing.assert_close(found[a, b], expected[0], rtol=1e-10, atol=1e-10)


def test_many_pairs_are_compared_in_pieces_with_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    head, tokens = PairHead(8, 3), torch.randn(7, 5, 8, requires_grad=True)
    results = []
    for most in (10_000, 14):
        monkeypatch.setattr(ranking, "_PAIRS_AT_ONCE", most)
        head.zero_grad()
        tokens.grad = None
        logits = head(tokens)
        torch.autograd.backward(logits.square().sum())
        results.append([logits.detach(), tokens.grad, *(parameter.grad for parameter in head.parameters())])
    for whole, pieces in zip(*results, strict=True):
        torch.testing.assert_close(whole, pieces)


def test_pairs_stay_finite_far_from_the_origin_and_under_autocast() -> None:
    head = PairHead(8, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert head(torch.randn(3, 5, 8) * 100).isfinite().all()


@torch.no_grad()
def test_the_instruction_changes_what_is_read() -> None:
    torch.manual_seed(0)
    instruction = torch.randn(6, 10)
    adapter = RankingAdapter(12, instruction, width=8, num_heads=2, num_prompts=3).eval()
    tokens = torch.randn(2, 4, 12)
    read = adapter(tokens)

    assert read.shape == (2, 3 + 4, 8)
    assert torch.equal(adapter.state_dict()["instruction"], instruction)
    adapter.instruction.neg_()
    assert (adapter(tokens) - read).abs().max() > 1e-3
    # The next image of a batch is not looked at.
    torch.testing.assert_close(adapter(tokens[:1]), adapter(tokens)[:1], rtol=1e-4, atol=1e-5)


def test_a_new_value_head_is_near_the_middle_and_ignores_the_order_of_tokens() -> None:
    head = ValueHead(16, 1900.0, 2000.0)
    tokens = torch.randn(4, 7, 16)
    values = head(tokens)
    assert values.shape == (4,)
    assert ((values - 1950).abs() < 50).all()
    torch.testing.assert_close(values, 1950 + 50 * head.out(head.layers(head.norm(tokens).sum(1)))[:, 0])
    torch.testing.assert_close(head(tokens.flip(1)), values)


@torch.no_grad()
def test_numbers_keep_their_digits_under_autocast() -> None:
    head = ValueHead(16, 0.0, 1000.0)
    tokens = torch.randn(200, 7, 16)
    expected = head(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(head(tokens), expected)


@pytest.mark.parametrize("arguments", [(0, 1, 1), (8, 3, 1), (8, 2, 0)])
def test_image_sizes_that_cannot_be_are_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match=r"width=.*, num_heads=.*, num_prompts=.*num_heads must divide width"):
        RankingAdapter(4, torch.zeros(2, 4), *arguments)
    with pytest.raises(ConfigError, match="num_queries=0 must be 1 or more"):
        PairHead(8, 0)
