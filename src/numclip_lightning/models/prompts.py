"""Learnable prompts: concept prompts, one per level, and the weights that interpolate ranks between base embeddings."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.text_tower import TextTower

__all__ = ["ConceptPrompts", "interpolation_weights"]

_CONTEXT_STD = 0.02  # as in CoOp and OrdinalCLIP


class ConceptPrompts(nn.Module):
    """One prompt per level, whose context and phrase are learned as token embeddings (NumCLIP's concept prompts).

    The context is shared by all levels. It starts as the template's own words or, with `num_context`, as random tokens
    in their place, with a full stop at the end as in OrdinalCLIP. Each level's phrase starts as its own words. A prompt
    is only as long as its words need: the published code fills short phrases with the embedding of token 0, a real "!";
    here nothing is added.

    The text tower is given at each call and isn't held, so that its parameters are counted once. Start, end and padding
    are read from its embeddings at each call, so they follow a checkpoint or training.

    Args:
        clip: The model that the prompts are for; read here, not kept.
        template: The sentence around the phrase, with one `{}`.
        phrases: The words of each level, K in all.
        num_context: How many random context tokens M take the place of the template's words; None keeps the words.
        position: Where the phrase stands among random context tokens: behind them, after the first half, or before
            them.

    Attributes:
        context: Context embeddings (M, W), or None where the template has no words.
        phrases: Phrase embeddings (P, W), those of all levels in a row; P is the number of their tokens.

    Raises:
        ConfigError: If the template has no place for the phrase, a phrase is empty or too long, letters touch across
            the border of template and phrase, or an argument is out of range.
    """

    index: Tensor
    end: Tensor
    fixed: Tensor

    def __init__(
        self,
        clip: CLIPBackbone,
        template: str,
        phrases: Sequence[str],
        num_context: int | None = None,
        position: Literal["tail", "middle", "front"] = "tail",
    ) -> None:
        super().__init__()
        words = _phrase_tokens(clip, phrases)
        if num_context is None:
            if position != "tail":
                raise ConfigError(
                    f"position={position!r} is for random context tokens; set num_context, or move {{}} in the template"
                )
            before, after = _template_tokens(clip, template, phrases, words)
            context = _embeddings(clip, before + after)
            split, stop = len(before), []
        else:
            split = _phrase_position(num_context, position)
            weight = clip.text.token_embedding.weight
            context = weight.new_empty(num_context, clip.text_width).normal_(std=_CONTEXT_STD)
            stop = clip.tokenize(["."])[0]
        self.context = nn.Parameter(context) if len(context) else None
        self.phrases = nn.Parameter(_embeddings(clip, [token for tokens in words for token in tokens]))

        longest = 2 + len(context) + len(stop) + max(map(len, words))
        if longest > clip.context_length:
            phrase = max(zip(words, phrases, strict=True), key=lambda pair: len(pair[0]))[1]
            raise ConfigError(
                f"the prompt for phrase {phrase!r} has {longest} tokens, the text tower reads {clip.context_length}; "
                "shorten the phrase, the template or num_context"
            )
        fixed = [clip.text.start_id, clip.text.end_id, clip.text.pad_id, *stop]
        index, end = _layout([len(tokens) for tokens in words], len(context), split, len(stop))
        # Not in the checkpoint: they follow from the arguments, and would get in the way of other phrases.
        self.register_buffer("fixed", torch.tensor(fixed), persistent=False)
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("end", end, persistent=False)

    def forward(self, text: TextTower) -> tuple[Tensor, Tensor]:
        """Assemble the prompts.

        Args:
            text: The text tower that will read them.

        Returns:
            Embeddings (K, L, W), L being the length of the longest prompt, and the position (K,) of each end-of-text
            token, as `CLIPBackbone.encode_embeddings` takes them.
        """
        parts = [text.token_embedding(self.fixed), self.phrases]
        if self.context is not None:
            parts.insert(1, self.context)
        return functional.embedding(self.index, torch.cat(parts)), self.end


def _layout(phrase_lengths: Sequence[int], num_context: int, split: int, num_stop: int) -> tuple[Tensor, Tensor]:
    """Say which row of [start, end, padding, full stop, context, phrases] stands where.

    Args:
        phrase_lengths: Tokens of each phrase.
        num_context: Tokens of the context.
        split: How many of them stand before the phrase.
        num_stop: Tokens of the full stop.

    Returns:
        Rows (K, L) and the position (K,) of each end.
    """
    start, end, padding, first_free = 0, 1, 2, 3
    stop = list(range(first_free, first_free + num_stop))
    context = [first_free + num_stop + i for i in range(num_context)]
    next_phrase = first_free + num_stop + num_context
    rows = []
    for length in phrase_lengths:
        phrase = range(next_phrase, next_phrase + length)
        rows.append([start, *context[:split], *phrase, *context[split:], *stop, end])
        next_phrase += length
    longest = max(map(len, rows))
    index = torch.tensor([row + [padding] * (longest - len(row)) for row in rows])
    return index, torch.tensor([len(row) - 1 for row in rows])


def _embeddings(clip: CLIPBackbone, tokens: Sequence[int]) -> Tensor:
    table = clip.text.token_embedding.weight.detach()
    return table[torch.tensor(tokens, dtype=torch.long, device=table.device)].clone()


def _phrase_tokens(clip: CLIPBackbone, phrases: Sequence[str]) -> list[list[int]]:
    tokens = clip.tokenize(phrases)
    for phrase, ids in zip(phrases, tokens, strict=True):
        if not ids:
            raise ConfigError(f"the phrase {phrase!r} has no words for the text tower; give each level a phrase")
    return tokens


def _template_tokens(
    clip: CLIPBackbone, template: str, phrases: Sequence[str], words: Sequence[Sequence[int]]
) -> tuple[list[int], list[int]]:
    """Return the template's tokens before and after the phrase, if a sentence has the same tokens as its parts."""
    if template.count("{}") != 1:
        raise ConfigError(f"template={template!r} must have one {{}} where the phrase goes")
    prefix, suffix = template.split("{}")
    before, after = clip.tokenize([prefix, suffix])
    for phrase, ids in zip(phrases, words, strict=True):
        if len(before) + len(ids) + len(after) > clip.context_length - 2:
            continue  # its length is told by the caller
        if clip.tokenize([prefix + phrase + suffix])[0] != [*before, *ids, *after]:
            raise ConfigError(
                f"template={template!r} and phrase {phrase!r} run into each other: their tokens differ from "
                "those of the whole sentence; put a space on both sides of {}"
            )
    return before, after


def _phrase_position(num_context: int, position: str) -> int:
    """Say how many context tokens stand before the phrase."""
    if num_context < 1:
        raise ConfigError(f"num_context={num_context} must be 1 or more, or null for the template's own words")
    places = {"tail": num_context, "middle": num_context // 2, "front": 0}
    if position not in places:
        raise ConfigError(f"position={position!r} must be one of {', '.join(places)}")
    return places[position]


def interpolation_weights(num_base: int, num_ranks: int, kind: Literal["linear", "inverse", "normal"]) -> Tensor:
    """Weights that mix base embeddings into rank embeddings (OrdinalCLIP, arXiv 2206.02338, section 3.3).

    Base b stands at rank `c_b = b (R-1)/(B-1)`, a single one at the centre. With the distance `x = |r - c_b|` the
    weight before normalisation is `1 - x/(R-1)` (linear: every base takes part, it is not piecewise), `1/(x + 1e-5)`
    (inverse) or `exp(-x^2)` (normal), computed as a softmax, because far from every base it underflows.

    Args:
        num_base: Number B of base embeddings.
        num_ranks: Number R of ranks.
        kind: How the weight falls with the distance.

    Returns:
        Weights (R, B) in float32, computed in float64; each row sums to 1.

    Raises:
        ConfigError: If a number is below 1 or the kind is unknown.
    """
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
    elif kind == "normal":
        weights = torch.softmax(-distance.square(), dim=1)
    else:
        raise ConfigError(f"kind={kind!r} must be one of linear, inverse, normal")
    return (weights / weights.sum(dim=1, keepdim=True)).float()
