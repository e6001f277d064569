"""Prompts of unequal length are encoded in a few passes, each as long as its longest prompt."""

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.length_buckets import divide_by_length
from numclip_lightning.models.loading import load_clip
from numclip_lightning.models.no_prompts import YesNoPrompts
from numclip_lightning.models.prompts import ConceptPrompts, RankPrompts

# One level is said in a whole sentence.
UNEQUAL = [*(f"{n} things" for n in range(20)), "a crowd of more things than anybody would ever care to count here"]


def cheapest(lengths: Sequence[int], pass_tokens: int, prefix: int) -> int:
    """The cost of the best of all divisions."""
    places = range(1, len(lengths))
    costs = []
    for number in range(len(lengths)):
        for borders in combinations(places, number):
            ends = [0, *borders, len(lengths)]
            passes = [lengths[start:stop] for start, stop in pairwise(ends)]
            costs.append(sum(pass_tokens + prefix + len(one) * (max(one) - prefix) for one in passes))
    return min(costs)


@given(st.lists(st.integers(3, 30), min_size=1, max_size=7), st.integers(0, 40), st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_the_division_is_the_cheapest(lengths: list[int], pass_tokens: int, prefix: int) -> None:
    lengths = sorted(lengths)
    found = divide_by_length(lengths, pass_tokens, prefix)
    assert [one.start for one in found] == [0, *(one.stop for one in found[:-1])]
    assert found[-1].stop == len(lengths)
    assert all(one.length == max(lengths[one.start : one.stop]) for one in found)
    cost = sum(pass_tokens + prefix + (one.stop - one.start) * (one.length - prefix) for one in found)
    assert cost == cheapest(lengths, pass_tokens, prefix)


def read(clip: CLIPBackbone, prompts: Any, buckets: Any, prefix: int) -> list[Tensor]:
    clip.zero_grad()
    prompts.zero_grad()
    features = clip.encode_embeddings(*prompts(clip.text), prefix=prefix, buckets=buckets)
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.autograd.backward((features * weights).sum())
    parameters = [*prompts.parameters(), *clip.text.parameters()]
    return [features.detach(), *(p.grad.clone() for p in parameters if p.grad is not None)]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("with_prefix", [False, True])
def test_features_and_gradients_equal_those_of_one_pass(order: int, with_prefix: bool) -> None:
    clip = load_clip("mini").double()
    prompts = ConceptPrompts(clip, "{} in a picture.", UNEQUAL[::order]).double()
    assert prompts.buckets is not None
    seen: list[int] = []
    block: Any = clip.text.transformer.resblocks[0]  # type: ignore[index]
    block.mlp.register_forward_hook(lambda _m, arguments, _o: seen.append(arguments[0].shape[:2].numel()))
    prefix = prompts.prefix if with_prefix else 0
    divided = read(clip, prompts, prompts.buckets, prefix)
    tokens = sum(seen)
    seen.clear()
    whole = read(clip, prompts, None, 0)
    for found, expected in zip(divided, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    assert tokens < sum(seen) / 2


def test_only_what_saves_enough_is_divided() -> None:
    clip = load_clip("mini")
    assert ConceptPrompts(clip, "a picture of {}.", UNEQUAL[:5]).buckets is None
    assert ConceptPrompts(clip, "a picture of {}.", UNEQUAL[-3:]).buckets is None
    assert RankPrompts(clip, "a picture of {} things.", 40).buckets is None
    assert YesNoPrompts(clip, "a picture of {}.", UNEQUAL, 4).buckets is None


def test_a_tower_that_looks_ahead_reads_all_at_full_length() -> None:
    clip = load_clip("mini").double()
    prompts = ConceptPrompts(clip, "{} in a picture.", UNEQUAL).double()
    clip.text.mask, clip.text._stops_at_end = None, False
    embeddings, end = prompts(clip.text)
    divided = clip.text(embeddings, end, buckets=prompts.buckets)
    torch.testing.assert_close(divided, clip.text(embeddings, end), rtol=0, atol=0)
