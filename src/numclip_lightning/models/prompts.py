"""Learnable prompts: one per level or rank, made of context and phrase embeddings."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.prompt_parts import (
    INITIAL_STD,
    Position,
    Prompts,
    build_context,
    check_joins,
    embed_tokens,
    phrase_tokens,
)

__all__ = ["ConceptPrompts", "Interpolation", "Position", "RankPrompts", "interpolation_weights"]

Interpolation = Literal["linear", "inverse", "normal"]


class ConceptPrompts(Prompts):
    """One prompt for each level, with context and phrase learned as token embeddings (NumCLIP's concept prompts).

    The context is shared by all levels. It starts as the template's own words or, with `num_context`, as random tokens
    in their place. A full stop at the end of the template, or after random tokens, is never learned, as published. Each
    level's phrase starts as its own words. A prompt is only as long as its words need.

    Args:
        clip: The model that the prompts are for; read here, not kept.
        template: The sentence around the phrase, with one `{}`.
        phrases: The words of each level, K in all.
        num_context: Number M of random context tokens that replace the template's words; None keeps the words.
        position: Where the phrase is among random context tokens: after them (tail), in the middle, or before (front).
        shared_context: Whether all levels learn one context; otherwise each level starts from its own copy.

    Attributes:
        context: Context embeddings, (M, W) or (K * M, W), or None if the template has no words but a full stop.
        phrases: Phrase embeddings (P, W), those of all levels in a row; P is the number of their tokens.

    Raises:
        ConfigError: If the template has no place for the phrase, a phrase is empty or too long, letters touch across
            the border of template and phrase, or an argument is out of range.

    Example:
        >>> from numclip_lightning.models.loading import load_clip
        >>> clip = load_clip("mini")
        >>> prompts = ConceptPrompts(clip, "a picture of {}.", ["a single thing", "many things"])
        >>> embeddings, end = prompts(clip.text)
        >>> clip.encode_embeddings(embeddings, end).shape
        torch.Size([2, 64])
    """

    def __init__(
        self,
        clip: CLIPBackbone,
        template: str,
        phrases: Sequence[str],
        num_context: int | None = None,
        position: Position = "tail",
        *,
        shared_context: bool = True,
    ) -> None:
        words = phrase_tokens(clip, phrases)
        context = build_context(clip, template, num_context, position)
        if num_context is None:
            check_joins(clip, template, phrases, words)
        super().__init__(clip, context, phrases, [len(tokens) for tokens in words], shared=shared_context)
        self.phrases = nn.Parameter(embed_tokens(clip, [token for tokens in words for token in tokens]))

    def phrase_embeddings(self) -> Tensor:
        """Return the learned phrases (P, W)."""
        return self.phrases


class RankPrompts(Prompts):
    """One prompt for each rank, a mixture of a few learned base embeddings (OrdinalCLIP's rank prompts).

    `rank_r = sum_b W[r, b] base_b` with the weights of `interpolation_weights` (OrdinalCLIP, arXiv 2206.02338, section
    3.3), so that the prompts of neighbouring ranks are close from the first step on.

    Args:
        clip: The model that the prompts are for; read here, not kept.
        template: The sentence around the rank, with one `{}`.
        num_ranks: Number R of ranks.
        num_base: Number B of base embeddings.
        interpolation: How the weight of a base decreases with its distance.
        num_tokens: Tokens T of a rank.
        base_phrases: Initial words of the bases, B in all, at most T tokens each; None starts from N(0, 0.02), and so
            do tokens after short words. The published code fills those with token 0, a real "!".
        num_context: Number M of random context tokens that replace the template's words; None keeps the words.
        position: Where the rank is among random context tokens.

    Attributes:
        context: Context embeddings (M, W), or None if the template has no words.
        base: Base embeddings (B, T, W).

    Raises:
        ConfigError: If an argument is out of range, the words don't fit the bases, or the prompt is too long.
    """

    weights: Tensor

    def __init__(
        self,
        clip: CLIPBackbone,
        template: str,
        num_ranks: int,
        num_base: int = 3,
        interpolation: Interpolation = "linear",
        num_tokens: int = 1,
        base_phrases: Sequence[str] | None = None,
        num_context: int | None = None,
        position: Position = "tail",
    ) -> None:
        if num_tokens < 1:
            raise ConfigError(f"num_tokens={num_tokens} must be 1 or more")
        weights = interpolation_weights(num_base, num_ranks, interpolation)
        context = build_context(clip, template, num_context, position)
        names = [f"rank {rank}" for rank in range(num_ranks)]
        super().__init__(clip, context, names, [num_tokens] * num_ranks, shared=True)
        table = clip.text.token_embedding.weight
        base = table.new_empty(num_base, num_tokens, clip.text_width).normal_(std=INITIAL_STD)
        for row, tokens in zip(base, _base_tokens(clip, base_phrases, num_base, num_tokens), strict=False):
            row[: len(tokens)] = embed_tokens(clip, tokens)
        self.base = nn.Parameter(base)
        self.register_buffer("weights", weights, persistent=False)

    def phrase_embeddings(self) -> Tensor:
        """Return the interpolated ranks (R * T, W)."""
        ranks = self.weights.to(self.base.dtype) @ self.base.flatten(1)
        return ranks.reshape(-1, self.base.shape[-1])


def _base_tokens(clip: CLIPBackbone, phrases: Sequence[str] | None, num_base: int, num_tokens: int) -> list[list[int]]:
    """Return the tokens that the bases start from; none if they start at random."""
    if phrases is None:
        return []
    if len(phrases) != num_base:
        raise ConfigError(f"base_phrases has {len(phrases)} entries for num_base={num_base}; give one for each base")
    words = phrase_tokens(clip, phrases)
    for phrase, tokens in zip(phrases, words, strict=True):
        if len(tokens) > num_tokens:
            raise ConfigError(f"the base phrase {phrase!r} has {len(tokens)} tokens; set num_tokens={len(tokens)}")
    return words


def interpolation_weights(num_base: int, num_ranks: int, kind: Interpolation) -> Tensor:
    """Weights that mix base embeddings into rank embeddings (OrdinalCLIP, arXiv 2206.02338, section 3.3).

    Base b is at rank `c_b = b (R-1)/(B-1)`, a single one at the centre. With the distance `x = |r - c_b|` the
    weight before normalisation is `1 - x/(R-1)` (linear: every base contributes, it is not piecewise), `1/(x + 1e-5)`
    (inverse) or `exp(-x^2)` (normal), computed as a softmax, because far from every base it underflows.

    Args:
        num_base: Number B of base embeddings.
        num_ranks: Number R of ranks.
        kind: How the weight decreases with the distance.

    Returns:
        Weights (R, B) in float32, computed in float64; each row sums to 1.

    Raises:
        ConfigError: If a number is below 1 or the kind is unknown.

    Example:
        >>> interpolation_weights(num_base=2, num_ranks=3, kind="linear")
        tensor([[1.0000, 0.0000],
                [0.5000, 0.5000],
                [0.0000, 1.0000]])
    """
    check_choice("interpolation", kind, get_args(Interpolation))
    if num_base < 1 or num_ranks < 1:
        raise ConfigError(f"num_base={num_base} and num_ranks={num_ranks} must be 1 or more")
    last = float(num_ranks - 1)
    ranks = torch.arange(num_ranks, dtype=torch.float64)
    bases = (
        torch.linspace(0, last, num_base, dtype=torch.float64) if num_base > 1 else torch.tensor([last / 2]).double()
    )
    distance = (ranks[:, None] - bases).abs()
    if kind == "linear":
        weights = 1 - distance / max(last, 1)  # a single rank is at distance 0 from every base
    elif kind == "inverse":
        weights = 1 / (distance + 1e-5)
    else:
        weights = torch.softmax(-distance.square(), dim=1)
    return (weights / weights.sum(dim=1, keepdim=True)).float()
