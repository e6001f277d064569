"""Decoding of threshold probabilities `P(y > k)`, as CORAL and CORN predict them, into ranks."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from numclip_lightning.errors import check_choice

__all__ = ["ThresholdDecode", "decode_rank", "rank_log_probabilities"]

ThresholdDecode = Literal["median", "expectation"]


def decode_rank(log_beyond: Tensor, decode: ThresholdDecode) -> Tensor:
    """Decode a rank, possibly between two ranks, from the threshold probabilities.

    Args:
        log_beyond: `log P(y > k)` for the thresholds k = 0..R-2, shape (B, R-1).
        decode: `median` counts the thresholds with a probability of more than a half, as published; `expectation` is
            the sum of the probabilities, which is the expected rank.

    Returns:
        Shape (B,), 0..R-1; NaN where a probability is NaN.

    Raises:
        ConfigError: If `decode` is unknown.

    Example:
        >>> log_beyond = torch.tensor([[0.9, 0.6, 0.2]]).log()
        >>> decode_rank(log_beyond, "median")
        tensor([2.])
        >>> decode_rank(log_beyond, "expectation")
        tensor([1.7000])
    """
    check_choice("decode", decode, get_args(ThresholdDecode))
    if decode == "expectation":
        return log_beyond.exp().sum(dim=1)
    passed = (log_beyond > math.log(0.5)).to(log_beyond.dtype).sum(dim=1)
    return passed.masked_fill(log_beyond.isnan().any(dim=1), torch.nan)


def rank_log_probabilities(log_beyond: Tensor) -> Tensor:
    """Return `log P(y = k)`, the difference of neighbouring threshold probabilities, computed in logarithms.

    A probability that rises from one threshold to the next, which CORAL can learn, is cut to the value before: that
    rank then has almost no probability of its own, and every logarithm stays finite.

    Args:
        log_beyond: `log P(y > k)` for the thresholds k = 0..R-2, shape (B, R-1).

    Returns:
        Shape (B, R), finite; the exponentials sum to 1.

    Example:
        >>> rank_log_probabilities(torch.tensor([[0.9, 0.6, 0.2]]).log()).exp()
        tensor([[0.1000, 0.3000, 0.4000, 0.2000]])
    """
    falling = log_beyond.cummin(dim=1).values
    here = torch.cat([torch.zeros_like(falling[:, :1]), falling], dim=1)
    # log(e^a - e^b) = a + log(1 - e^(b - a)), which keeps its digits if both probabilities are near 1.
    share = -torch.expm1(here[:, 1:] - here[:, :-1])
    between = here[:, :-1] + share.clamp(min=torch.finfo(share.dtype).tiny).log()
    return torch.cat([between, here[:, -1:]], dim=1)
