"""Reading ranks from the chances of lying beyond each threshold, as CORAL and CORN predict them."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from numclip_lightning.errors import check_choice

__all__ = ["CumulativeDecode", "class_log_probabilities", "count_steps"]

CumulativeDecode = Literal["median", "expectation"]


def count_steps(log_beyond: Tensor, decode: CumulativeDecode) -> Tensor:
    """Return the number in steps from the first rank.

    Args:
        log_beyond: `log P(y > k)` for the thresholds k = 0..R-2, shape (B, R-1).
        decode: `median` counts the thresholds that lie behind with a chance of more than a half, as published;
            `expectation` adds up the chances, which is the expected rank.

    Returns:
        Shape (B,), 0..R-1.

    Raises:
        ConfigError: If `decode` is unknown.
    """
    check_choice("decode", decode, get_args(CumulativeDecode))
    if decode == "expectation":
        return log_beyond.exp().sum(dim=1)
    return (log_beyond > math.log(0.5)).to(log_beyond.dtype).sum(dim=1)


def class_log_probabilities(log_beyond: Tensor) -> Tensor:
    """Return `log P(y = k)`, the difference of neighbouring chances, in logarithms throughout.

    Chances that rise from one threshold to the next, which CORAL can learn, are cut to the one before: that rank then
    has next to no chance of its own, and every logarithm stays finite.

    Args:
        log_beyond: `log P(y > k)` for the thresholds k = 0..R-2, shape (B, R-1).

    Returns:
        Shape (B, R), finite; the exponentials sum to 1.
    """
    falling = log_beyond.cummin(dim=1).values
    here = torch.cat([torch.zeros_like(falling[:, :1]), falling], dim=1)
    # log(e^a - e^b) = a + log(1 - e^(b - a)), which keeps its digits where both chances are near 1.
    share = -torch.expm1(here[:, 1:] - here[:, :-1])
    between = here[:, :-1] + share.clamp(min=torch.finfo(share.dtype).tiny).log()
    return torch.cat([between, here[:, -1:]], dim=1)
