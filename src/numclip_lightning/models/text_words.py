"""Which words of a prompt speak for an image and which against it: the gradient of attention in the text tower.

Source: CLIP4DM (AAAI 2025, arXiv 2412.18404), after Chefer et al., "Generic Attention-model Explainability", ICCV 2021
(arXiv 2103.15679).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.errors import BackboneError
from numclip_lightning.models.clip import CLIPBackbone

__all__ = ["BLOCKS", "Attended", "Word", "attend", "sums", "token_scores", "words_of"]

BLOCKS = 3
"""How many of the last blocks are read, as published."""


class Attended(NamedTuple):
    """A text tower's last blocks with their attention.

    Attributes:
        features: Text features (N, D), not normalised, that depend on the attention.
        attention: Of each block, the first first, (N, heads, L, L); a row is what a token attends to.
        read: The row that the feature is read from, int64 (N,).
    """

    features: Tensor
    attention: list[Tensor]
    read: Tensor


class Word(NamedTuple):
    """A word of a prompt and its tokens.

    Attributes:
        text: The word; what is learned without words is `[context 1]`.
        tokens: The places of its tokens in the prompt, the start being 0.
    """

    text: str
    tokens: list[int]


def attend(clip: CLIPBackbone, embeddings: Tensor, end: Tensor, blocks: int = BLOCKS) -> Attended:
    """Encode prompts with the attention of the last blocks in the open; everything else as `encode_embeddings` does.

    Args:
        clip: The model.
        embeddings: Token embeddings (N, L, W).
        end: Position (N,) of each end-of-text token.
        blocks: How many of the last blocks; all if there are fewer.

    Raises:
        BackboneError: If the blocks are not those of open_clip's plain transformer.
    """
    tower = clip.text
    residual: Any = getattr(tower.transformer, "resblocks", ())
    if not len(residual) or not all(
        isinstance(getattr(block, "attn", None), nn.MultiheadAttention) for block in residual
    ):
        raise BackboneError("the text tower has no plain attention, so that its words can't be weighed; take another")
    x, mask = tower.embedded(embeddings)
    with torch.enable_grad():
        # A gradient flows through what depends on the input, though no parameter asks for one.
        x = x.detach().requires_grad_()
        attention = []
        first = max(0, len(residual) - blocks)
        for number, block in enumerate(residual):
            if number < first:
                x = block(x, attn_mask=mask)
            else:
                x, weights = _opened(block, x, mask)
                attention.append(weights)
        features, read = tower.pooled(x, end)
    return Attended(features, attention, read)


def token_scores(attended: Attended, image: Tensor) -> Tensor:
    """Return how much each token adds to the cosine of its prompt with an image.

    The mean over blocks and heads of `(d cos / d A) * A`, A the attention, in the row that the feature is read from.

    Args:
        attended: N prompts.
        image: A direction for each prompt, (N, D) or (D,): an image feature of length one, or a mean or a difference of
            several. The scores are linear in it.

    Returns:
        (N, L), without gradient.
    """
    with torch.enable_grad():
        cosines = (F.normalize(attended.features, dim=1) * image).sum()
        gradients = torch.autograd.grad(cosines, attended.attention, retain_graph=True)
    rows = torch.arange(len(attended.read), device=attended.read.device)
    parts = [
        (gradient * weights)[rows, :, attended.read].mean(dim=1)
        for gradient, weights in zip(gradients, attended.attention, strict=True)
    ]
    return torch.stack(parts).mean(dim=0).detach()


def words_of(clip: CLIPBackbone, prompt: str, learned: int = 0, split: int = 0) -> list[Word]:
    """Return the words of a prompt, each with its tokens.

    Args:
        clip: The model.
        prompt: The words as they are in the prompt; with learned tokens, those without them.
        learned: How many learned tokens there are instead of the words around it.
        split: How many of them are before the words.
    """
    words: list[Word] = [Word(f"[context {i + 1}]", [1 + i]) for i in range(split)]
    place, text, tokens = 1 + split, "", list[int]()
    for piece in clip.pieces(prompt):
        text, tokens = text + piece.removesuffix("</w>"), [*tokens, place]
        place += 1
        if piece.endswith("</w>"):
            words.append(Word(text, tokens))
            text, tokens = "", []
    if tokens:
        words.append(Word(text, tokens))
    return [*words, *(Word(f"[context {i + 1}]", [place + i - split]) for i in range(split, learned))]


def sums(scores: Tensor, words: Sequence[Word]) -> list[float]:
    """Return the score of each word of a prompt, the sum over its tokens: scores (L,)."""
    return [float(scores[word.tokens].sum()) for word in words]


def _opened(block: Any, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Run a block with its attention in the open."""
    attention: nn.MultiheadAttention = block.attn
    heads = attention.num_heads
    packed = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = (part.view(*part.shape[:2], heads, -1).transpose(1, 2) for part in packed.chunk(3, dim=-1))
    logits = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    weights = (logits if mask is None else logits + mask).softmax(dim=-1)
    mixed = (weights @ value).transpose(1, 2).flatten(2)
    x = x + block.ls_1(attention.out_proj(mixed))
    return x + block.ls_2(block.mlp(block.ln_2(x))), weights
