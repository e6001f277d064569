"""Prompts of unequal length in a few passes: a long one does not make the short ones longer than they are."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Bucket", "LengthBuckets", "divide_by_length"]


class Bucket(NamedTuple):
    """Prompts that are encoded together: places of the sorted prompts, and the tokens of the longest of them."""

    start: int
    stop: int
    length: int


def divide_by_length(lengths: Sequence[int], pass_tokens: int, prefix: int = 0) -> list[Bucket]:
    """Divide prompts into the passes that cost least.

    A pass over n prompts, of which the longest has L tokens and P are common to all, counts `P + n (L - P)` tokens, and
    as many as a pass by itself is worth. The best division is found exactly, by dynamic programming.

    Args:
        lengths: Tokens of each prompt, sorted, the shortest first; at least one.
        pass_tokens: How many tokens a further pass must save.
        prefix: Tokens that all prompts begin with, and that a pass encodes once; below the shortest length.

    Example:
        >>> divide_by_length([4, 4, 4, 20], pass_tokens=10)
        [Bucket(start=0, stop=3, length=4), Bucket(start=3, stop=4, length=20)]
        >>> divide_by_length([4, 4, 4, 20], pass_tokens=100)
        [Bucket(start=0, stop=4, length=20)]
    """
    # Prompts of one length stay together: these are the places where a pass may end.
    ends = [i for i in range(1, len(lengths) + 1) if i == len(lengths) or lengths[i] > lengths[i - 1]]
    best: dict[int, tuple[int, list[Bucket]]] = {0: (0, [])}
    for stop in ends:
        length = lengths[stop - 1]
        best[stop] = min(
            (
                cost + pass_tokens + prefix + (stop - start) * (length - prefix),
                [*before, Bucket(start, stop, length)],
            )
            for start, (cost, before) in best.items()
        )
    return best[len(lengths)][1]


class LengthBuckets(nn.Module):
    """Prompts sorted by length, and the passes that encode them.

    Args:
        lengths: Tokens of each prompt, end included, K in all, in the order of the prompts.
        pass_tokens: As of `divide_by_length`.
        prefix: Likewise.

    Attributes:
        buckets: The passes.
        order: The prompts by length, int64 (K,).
        place: Where each prompt is in that order, int64 (K,).
    """

    order: Tensor
    place: Tensor

    def __init__(self, lengths: Sequence[int], pass_tokens: int, prefix: int = 0) -> None:
        super().__init__()
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        self.buckets = divide_by_length([lengths[i] for i in order], pass_tokens, prefix)
        # Buffers: a list of places would be copied to the device in every step, which waits for it.
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.register_buffer("place", torch.tensor(order).argsort(), persistent=False)
