"""Prompts that begin alike, through a causal tower: what they share is encoded once.

A token of a causal tower looks at those before it alone. So the states of a common beginning are the same in all
prompts; each prompt's own tokens look at the keys and values of the beginning, as in a language model's cache of a
prompt, here with gradients.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["encode_with_prefix"]


def encode_with_prefix(blocks: Iterable[nn.Module], x: Tensor, length: int, *, keep: bool = True) -> Tensor:
    """Run residual attention blocks over prompts with a common beginning.

    Args:
        blocks: open_clip's `ResidualAttentionBlock`s, whose attention is `torch.nn.MultiheadAttention`.
        x: Embeddings with positions (N, L, W), whose first `length` tokens are equal in all prompts; those of the first
            prompt are used, and get the gradient of all.
        length: Tokens P of the common beginning, 1 to L - 1.
        keep: Whether what a block computes is kept for the backward pass; otherwise that computes it again.

    Returns:
        What the last block leaves of each prompt's own tokens, (N, L - P, W).
    """
    prefix, own = x[:1, :length], x[:, length:]
    # Own tokens see the whole beginning, and of themselves those before.
    size = own.shape[1]
    mask = torch.ones(size, length + size, dtype=torch.bool, device=x.device).tril(length)
    for block in blocks:
        if keep:
            prefix, own = _block(block, prefix, own, mask)
        else:
            prefix, own = checkpoint(_block, block, prefix, own, mask, use_reentrant=False)
    return own


def _block(block: Any, prefix: Tensor, own: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    attention: nn.MultiheadAttention = block.attn
    heads = attention.num_heads
    query, key, value = _project(attention, block.ln_1(prefix), heads)
    own_query, own_key, own_value = _project(attention, block.ln_1(own), heads)
    keys = torch.cat([key.expand(len(own), -1, -1, -1), own_key], dim=2)
    values = torch.cat([value.expand(len(own), -1, -1, -1), own_value], dim=2)
    seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    own_seen = F.scaled_dot_product_attention(own_query, keys, values, attn_mask=mask)
    return _finish(block, prefix, seen), _finish(block, own, own_seen)


def _project(attention: nn.MultiheadAttention, x: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values, each (N, heads, L, W / heads)."""
    joined = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = joined.view(*x.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
    return query, key, value


def _finish(block: Any, x: Tensor, seen: Tensor) -> Tensor:
    x = x + block.ls_1(block.attn.out_proj(seen.transpose(1, 2).flatten(2)))
    out: Tensor = x + block.ls_2(block.mlp(block.ln_2(x)))
    return out
