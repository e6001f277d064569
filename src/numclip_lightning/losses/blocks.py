"""Losses of counts by blocks: bins of whole numbers (CLIP-EBC), and the zero-inflated Poisson likelihood (ZIP)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.errors import ConfigError

__all__ = ["block_counts", "zero_inflated_poisson"]


def block_counts(places: Tensor, rows: int, columns: int) -> Tensor:
    """Return how many things lie in each block of an image: (B, H, W) -> (B, rows, columns), float32.

    Each pixel belongs to one block, so that the sum stays that of the image whatever the sizes.

    Args:
        places: The number of things at each pixel.
        rows: Blocks from top to bottom, at most H.
        columns: Blocks from left to right, at most W.

    Raises:
        ConfigError: If there are more blocks than pixels.

    Example:
        >>> block_counts(torch.ones(1, 3, 4), 1, 2)
        tensor([[[6., 6.]]])
    """
    height, width = places.shape[-2:]
    if rows > height or columns > width:
        raise ConfigError(
            f"{rows}x{columns} blocks are more than the {height}x{width} pixels that say where things are."
        )
    return torch.einsum(
        "rh,bhw,cw->brc", _members(height, rows, places), places.float(), _members(width, columns, places)
    )


def _members(pixels: int, blocks: int, like: Tensor) -> Tensor:
    """Return which pixel is in which block, (blocks, pixels) of 0 and 1."""
    block = torch.arange(pixels, device=like.device) * blocks // pixels
    return F.one_hot(block, blocks).T.float()


def zero_inflated_poisson(zero: Tensor, rate: Tensor, count: Tensor) -> Tensor:
    """Return `-log P(count)` of each block, P(0) = q + (1 - q) e^-l and P(n) = (1 - q) e^-l l^n / n!.

    Source: ZIP (arXiv 2506.19955), section 3.

    Args:
        zero: log q and log(1 - q), the chance that a block is empty for good, (..., 2).
        rate: l, the mean of the others, above 0, (...).
        count: Whole numbers of 0 or more, (...).

    Returns:
        (...).
    """
    empty, other = zero.unbind(-1)
    none = torch.logaddexp(empty, other - rate)
    some = other - rate + torch.special.xlogy(count, rate) - torch.lgamma(count + 1)
    return -torch.where(count == 0, none, some)
