"""Parts of prompts: the layout of embeddings, the context around a phrase, and checks of the words."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.length_buckets import LengthBuckets
from numclip_lightning.models.text_tower import WORTH_A_PASS, TextTower

__all__ = [
    "INITIAL_STD",
    "Context",
    "Position",
    "Prompts",
    "build_context",
    "check_joins",
    "embed_tokens",
    "phrase_tokens",
]

Position = Literal["tail", "middle", "front"]

INITIAL_STD = 0.02  # as in CoOp and OrdinalCLIP


class Context(NamedTuple):
    """Context around the phrase.

    Attributes:
        embeddings: What is learned, (M, W).
        split: How many of them precede the phrase.
        stop: The ids of the full stop at the end, which is not learned; empty if there is none.
        random: Whether the embeddings start at random, and not from words.
    """

    embeddings: Tensor
    split: int
    stop: list[int]
    random: bool


class Prompts(nn.Module):
    """Base of prompts: the context is a parameter, and a subclass provides the phrases.

    The text tower is an argument of each call and not a submodule, so that its parameters are counted once. Start, end,
    padding and the last full stop are read from its embeddings at each call, so they follow a checkpoint or training.
    """

    index: Tensor
    end: Tensor
    fixed: Tensor

    def __init__(
        self, clip: CLIPBackbone, context: Context, phrases: Sequence[str], lengths: Sequence[int], *, shared: bool
    ) -> None:
        super().__init__()
        num_context = len(context.embeddings)
        longest = 2 + num_context + len(context.stop) + max(lengths)
        if longest > clip.context_length:
            phrase = max(zip(lengths, phrases, strict=True), key=lambda pair: pair[0])[1]
            raise ConfigError(
                f"the prompt for phrase {phrase!r} has {longest} tokens, the text tower reads {clip.context_length}; "
                "shorten the phrase, the template or num_context"
            )
        copies = context.embeddings.repeat(1 if shared else len(phrases), 1)
        self.random_context, self.num_context, self.split = context.random, num_context, context.split
        self.context = nn.Parameter(copies) if num_context else None
        fixed = [clip.text.start_id, clip.text.end_id, clip.text.pad_id, *context.stop]
        index, end = _layout(lengths, num_context, context.split, len(context.stop), shared=shared)
        self._prefix = int((index == index[0]).all(dim=0).cumprod(dim=0)[: int(end.min())].sum())
        buckets = LengthBuckets((end + 1).tolist(), WORTH_A_PASS, self._prefix)
        self._buckets = buckets if len(buckets.buckets) > 1 else None
        # Not in the checkpoint: they follow from the arguments, and would prevent other phrases.
        self.register_buffer("fixed", torch.tensor(fixed), persistent=False)
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("end", end, persistent=False)

    def phrase_embeddings(self) -> Tensor:
        """Return the phrase embeddings (P, W) of all prompts in a row."""
        raise NotImplementedError

    @property
    def prefix(self) -> int:
        """How many of the first tokens are the same in all prompts; 0 where a subclass adds others."""
        return self._prefix if type(self).forward is Prompts.forward else 0

    @property
    def buckets(self) -> LengthBuckets | None:
        """The passes in which prompts of very unequal length are encoded; None for a single one."""
        return self._buckets if type(self).forward is Prompts.forward else None

    def forward(self, text: TextTower) -> tuple[Tensor, Tensor]:
        """Assemble the prompts.

        Args:
            text: The text tower that will read them.

        Returns:
            Embeddings (K, L, W), L being the length of the longest prompt, and the position (K,) of each end-of-text
            token, as `CLIPBackbone.encode_embeddings` takes them.
        """
        parts = [text.token_embedding(self.fixed), self.phrase_embeddings()]
        if self.context is not None:
            parts.insert(1, self.context)
        return functional.embedding(self.index, torch.cat(parts)), self.end


def _layout(
    phrase_lengths: Sequence[int], num_context: int, split: int, num_stop: int, *, shared: bool
) -> tuple[Tensor, Tensor]:
    """Return the row of [start, end, padding, full stop, context, phrases] for each token of each prompt.

    Args:
        phrase_lengths: Tokens of each phrase.
        num_context: Tokens of the context.
        split: How many of them precede the phrase.
        num_stop: Tokens of the full stop.
        shared: Whether there is one context, or one for each phrase in a row.

    Returns:
        Rows (K, L) and the position (K,) of each end.
    """
    start, end, padding, first_free = 0, 1, 2, 3
    stop = list(range(first_free, first_free + num_stop))
    first_context = first_free + num_stop
    next_phrase = first_context + num_context * (1 if shared else len(phrase_lengths))
    rows = []
    for number, length in enumerate(phrase_lengths):
        own = first_context + (0 if shared else number * num_context)
        context = list(range(own, own + num_context))
        phrase = range(next_phrase, next_phrase + length)
        rows.append([start, *context[:split], *phrase, *context[split:], *stop, end])
        next_phrase += length
    longest = max(map(len, rows))
    index = torch.tensor([row + [padding] * (longest - len(row)) for row in rows])
    return index, torch.tensor([len(row) - 1 for row in rows])


def build_context(clip: CLIPBackbone, template: str, num_context: int | None, position: Position) -> Context:
    """Build the context that prompts start from.

    A full stop at the end of the template is kept as it is, and is not part of what is learned, as in the published
    code; random tokens have one as well.

    Args:
        clip: The model that the prompts are for.
        template: The sentence around the phrase, with one `{}`.
        num_context: Number of random tokens that replace the template's words; None keeps the words.
        position: Where the phrase is among random tokens; must be `tail` if the template's words are kept.

    Raises:
        ConfigError: If an argument is out of range or the template has no place for the phrase.
    """
    if num_context is None:
        if position != "tail":
            raise ConfigError(
                f"position={position!r} is for random context tokens; set num_context, or move {{}} in the template"
            )
        before, after = _template_tokens(clip, template)
        words, stop = _without_stop(clip, template, after)
        return Context(embed_tokens(clip, before + words), len(before), stop, random=False)
    if num_context < 1:
        raise ConfigError(f"num_context={num_context} must be 1 or more, or null for the template's own words")
    check_choice("position", position, get_args(Position))
    places = {"tail": num_context, "middle": num_context // 2, "front": 0}
    weight = clip.text.token_embedding.weight
    random = weight.new_empty(num_context, clip.text_width).normal_(std=INITIAL_STD)
    return Context(random, places[position], clip.tokenize(["."])[0], random=True)


def embed_tokens(clip: CLIPBackbone, tokens: Sequence[int]) -> Tensor:
    """Return a copy (T, W) of the model's embeddings of T tokens."""
    table = clip.text.token_embedding.weight.detach()
    return table[torch.tensor(tokens, dtype=torch.long, device=table.device)].clone()


def phrase_tokens(clip: CLIPBackbone, phrases: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each phrase; raise ConfigError if one has none."""
    tokens = clip.tokenize(phrases)
    for phrase, ids in zip(phrases, tokens, strict=True):
        if not ids:
            raise ConfigError(f"the phrase {phrase!r} has no words for the text tower; give each level a phrase")
    return tokens


def _template_tokens(clip: CLIPBackbone, template: str) -> tuple[list[int], list[int]]:
    """Return the template's tokens before and after the phrase."""
    if template.count("{}") != 1:
        raise ConfigError(f"template={template!r} must have one {{}} where the phrase goes")
    before, after = clip.tokenize(template.split("{}"))
    return before, after


def _without_stop(clip: CLIPBackbone, template: str, after: list[int]) -> tuple[list[int], list[int]]:
    """Divide the tokens after the phrase into the words and the full stop that ends the template, if one does."""
    text = template.split("{}")[1].rstrip()
    if not text.endswith("."):
        return after, []
    words = clip.tokenize([text[:-1]])[0]
    # Where the stop is part of another token, as in "...", there is none to keep.
    return (words, after[len(words) :]) if after[: len(words)] == words else (after, [])


def check_joins(clip: CLIPBackbone, template: str, phrases: Sequence[str], words: Sequence[Sequence[int]]) -> None:
    """Raise ConfigError if a whole sentence has other tokens than its parts."""
    before, after = _template_tokens(clip, template)
    for phrase, ids in zip(phrases, words, strict=True):
        if len(before) + len(ids) + len(after) > clip.context_length - 2:
            continue  # too long, which `Prompts` reports
        if clip.tokenize([template.replace("{}", phrase)])[0] != [*before, *ids, *after]:
            raise ConfigError(
                f"template={template!r} and phrase {phrase!r} run into each other: their tokens differ from "
                "those of the whole sentence; put a space on both sides of {}"
            )
