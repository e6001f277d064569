"""Prompts that begin alike are encoded from their beginning on, and have the features and gradients of whole ones."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from numclip_lightning.models import text_tower
from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.deep_prompts import DeepPrompts
from numclip_lightning.models.loading import load_clip
from numclip_lightning.models.no_prompts import YesNoPrompts
from numclip_lightning.models.prompt_parts import Prompts
from numclip_lightning.models.prompts import ConceptPrompts, RankPrompts


@pytest.fixture
def clip() -> CLIPBackbone:
    return load_clip("mini").double()


def counted(clip: CLIPBackbone) -> list[int]:
    """Return a list that gets the number of tokens that each call of a block's MLP sees."""
    seen: list[int] = []
    block: Any = clip.text.transformer.resblocks[0]  # type: ignore[index]
    block.mlp.register_forward_hook(lambda _m, arguments, _o: seen.append(arguments[0].shape[:2].numel()))
    return seen


def features_and_gradients(clip: CLIPBackbone, prompts: Prompts, prefix: int) -> list[Tensor]:
    clip.zero_grad()
    prompts.zero_grad()
    features = clip.encode_embeddings(*prompts(clip.text), prefix=prefix)
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (features * weights).sum().backward()  # type: ignore[no-untyped-call]
    parameters = [*prompts.parameters(), *clip.text.parameters()]
    return [features.detach(), *(p.grad.clone() for p in parameters if p.grad is not None)]


@pytest.mark.parametrize(
    "build",
    [
        lambda clip: RankPrompts(clip, "", 40, num_context=10, num_tokens=2),
        lambda clip: RankPrompts(clip, "a picture of {} things.", 40),
        lambda clip: RankPrompts(clip, "", 40, num_context=10, position="middle"),
        lambda clip: ConceptPrompts(clip, "a picture of {}.", [f"{n} things" * (1 + n % 2) for n in range(50)]),
    ],
)
def test_features_and_gradients_equal_those_of_whole_prompts(clip: CLIPBackbone, build: Any) -> None:
    prompts = build(clip).double()
    assert prompts.prefix * (len(prompts.end) - 1) >= text_tower.WORTH_A_PASS
    seen = counted(clip)
    shared = features_and_gradients(clip, prompts, prompts.prefix)
    whole = features_and_gradients(clip, prompts, 0)
    assert len(shared) == len(whole) > 10
    for found, expected in zip(shared, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    # The beginning once, and each prompt's own tokens; against all tokens of all prompts.
    number, length = prompts.index.shape
    assert seen == [prompts.prefix, number * (length - prompts.prefix), number * length]


def test_towers_that_look_ahead_read_whole_prompts(clip: CLIPBackbone) -> None:
    prompts = RankPrompts(clip, "", 40, num_context=10).double()
    embeddings, end = prompts(clip.text)
    seen = counted(clip)
    ahead = copy.deepcopy(clip.text)
    ahead.mask = None
    ahead._stops_at_end = False
    torch.testing.assert_close(ahead(embeddings, end, prefix=prompts.prefix), ahead(embeddings, end), rtol=0, atol=0)
    assert seen == [len(end) * ahead.context_length] * 2


def test_only_prompts_that_do_begin_alike_share(clip: CLIPBackbone) -> None:
    names = [f"{n} things" for n in range(5)]
    assert RankPrompts(clip, "a picture of {}.", 5).prefix == 4
    assert RankPrompts(clip, "", 5, num_context=4, position="front").prefix == 1
    assert ConceptPrompts(clip, "a picture of {}.", names, shared_context=False).prefix == 1
    # A single prompt's end is never a part of the beginning: its feature is read there.
    assert (
        ConceptPrompts(clip, "a picture of {}.", ["many"]).prefix
        < int(ConceptPrompts(clip, "a picture of {}.", ["many"]).end) + 1
    )
    assert YesNoPrompts(clip, "a picture of {}.", names, 4).prefix == 0
    assert DeepPrompts(clip, "a picture of {}.", names, 4, 2, 2).prefix == 0
