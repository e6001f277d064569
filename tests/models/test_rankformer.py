"""The RankFormer: words first, in view of each other then."""

import pytest
import torch

from numclip_lightning.errors import ConfigError
from numclip_lightning.models import ConceptPrompts, load_clip
from numclip_lightning.models.rankformer import OrderedPrompts
from support.tiny_clip import register_tiny_clips

register_tiny_clips()
CLIP = load_clip("tiny-vit", None)
NAMES = ["one", "two", "twenty one"]


def prompts(blend: float = 0.5, num_layers: int = 2) -> OrderedPrompts:
    return OrderedPrompts(CLIP, "{} dots", NAMES, None, "tail", num_layers, blend)


def test_prompts_start_as_their_words() -> None:
    found, end = prompts()(CLIP.text)
    expected, expected_end = ConceptPrompts(CLIP, "{} dots", NAMES)(CLIP.text)
    torch.testing.assert_close(found, expected)
    assert torch.equal(end, expected_end)


@torch.no_grad()
def test_what_is_learnt_is_blended_with_the_words() -> None:
    ordered = prompts(blend=0.25)
    for parameter in ordered.rankformer.parameters():
        parameter.normal_(std=0.2)
    expected = 0.25 * ordered.rankformer(ordered.phrases[None])[0] + 0.75 * ordered.phrases
    torch.testing.assert_close(ordered.phrase_embeddings(), expected)
    assert (ordered.phrase_embeddings() - ordered.phrases).abs().max() > 1e-2


@torch.no_grad()
def test_the_phrases_of_all_ranks_influence_each_other() -> None:
    ordered = prompts()
    for parameter in ordered.rankformer.parameters():
        parameter.normal_(std=0.2)
    before = ordered.phrase_embeddings()
    ordered.phrases[-1] += torch.randn(32)  # the last token of the last name
    changed = (ordered.phrase_embeddings() - before).abs().amax(dim=1) > 1e-6
    assert changed.all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0.0, 1), r"blend=0.0 must be greater than 0"), ((1.5, 1), "at most 1"), ((0.5, 0), "num_layers=0 must be 1")],
)
def test_a_wrong_argument_is_refused(arguments: tuple[float, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        prompts(*arguments)
