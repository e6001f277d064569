"""Which words speak for an image: the gradient of attention, against finite differences and slow loops."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from numclip_lightning.models import CLIPBackbone, load_clip
from numclip_lightning.models.text_words import Word, attend, sums, token_scores, words_of
from support.tiny_clip import register_tiny_clips

register_tiny_clips()
TEXTS = ["a picture of a crowd of things.", "a dog"]


def clip_of(name: str) -> CLIPBackbone:
    torch.manual_seed(0)
    return load_clip(name, "auto" if name == "mini" else None).eval()


@pytest.mark.parametrize("name", ["tiny-vit", "tiny-custom", "tiny-bidirectional", "tiny-first", "tiny-last", "mini"])
def test_a_tower_with_its_attention_in_the_open_says_the_same(name: str) -> None:
    clip = clip_of(name)
    embeddings, end = clip._embed(TEXTS)
    found = attend(clip, embeddings, end)
    torch.testing.assert_close(found.features, clip.encode_text(TEXTS), atol=1e-5, rtol=1e-4)
    for weights in found.attention:
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))


def test_scores_are_the_change_when_a_weight_of_attention_changes() -> None:
    clip = clip_of("mini")
    embeddings, end = clip._embed(TEXTS[:1])
    image = F.normalize(torch.randn(64), dim=0)
    scores = token_scores(attend(clip, embeddings, end), image)[0]
    blocks: Any = clip.text.transformer.resblocks
    read, step = int(end[0]), 0.02

    def cosine(block: int, head: int, token: int, by: float) -> float:
        """Run the tower, one weight of attention times `1 + by`, rows not normalised again."""
        x, mask = clip.text.embedded(embeddings)
        assert mask is not None
        for number, layer in enumerate(blocks):
            packed = F.linear(layer.ln_1(x), layer.attn.in_proj_weight, layer.attn.in_proj_bias)
            query, key, value = (part.view(1, -1, 4, 16).transpose(1, 2) for part in packed.chunk(3, dim=-1))
            weights = (query @ key.transpose(2, 3) / 4 + mask).softmax(dim=-1)
            if number == block:
                weights = weights.clone()
                weights[0, head, read, token] *= 1 + by
            x = x + layer.attn.out_proj((weights @ value).transpose(1, 2).flatten(2))
            x = x + layer.mlp(layer.ln_2(x))
        feature, _ = clip.text.pooled(x, end)
        return float(F.normalize(feature, dim=1)[0] @ image)

    for token in (5, 7, read):
        with torch.no_grad():
            slow = [
                (cosine(block, head, token, step) - cosine(block, head, token, -step)) / (2 * step)
                for block in range(len(blocks))
                for head in range(4)
            ]
        assert scores[token].item() == pytest.approx(sum(slow) / len(slow), rel=0.02, abs=2e-5)


def test_scores_are_linear_in_the_image_and_vanish_at_the_prompt_itself() -> None:
    clip = clip_of("mini")
    attended = attend(clip, *clip._embed(TEXTS))
    one, other = torch.randn(2, 64)
    both = token_scores(attended, one) + token_scores(attended, other)
    torch.testing.assert_close(token_scores(attended, one + other), both, atol=1e-5, rtol=1e-4)
    # There the cosine is at its largest, so that no word can raise it.
    own = F.normalize(attended.features.detach(), dim=1)
    assert token_scores(attended, own).abs().max() < 1e-5


def test_words_are_joined_from_their_pieces() -> None:
    clip = clip_of("tiny-vit")
    assert words_of(clip, "a zebrafish.")[0] == Word("a", [1])
    joined = words_of(clip, "a zebrafish.")
    assert [word.text for word in joined] == ["a", "zebrafish", "."]
    places = [place for word in joined for place in word.tokens]
    assert places == list(range(1, 1 + len(clip.tokenize(["a zebrafish."])[0])))
    assert len(joined[1].tokens) > 1
    assert sums(torch.arange(10.0), [Word("x", [1, 2]), Word("y", [4])]) == [3.0, 4.0]


def test_learned_context_is_named_by_its_number() -> None:
    clip = clip_of("tiny-vit")
    found = words_of(clip, "many dots", learned=3, split=2)
    assert [(word.text, word.tokens) for word in found] == [
        ("[context 1]", [1]), ("[context 2]", [2]), ("many", [3]), ("dots", [4]), ("[context 3]", [5]),
    ]  # fmt: skip
