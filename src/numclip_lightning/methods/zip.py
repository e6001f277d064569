"""ZIP: counts of blocks with a zero-inflated Poisson likelihood, beside CLIP-EBC's bins.

Source: Ma et al., "ZIP: Scalable Crowd Counting via Zero-Inflated Poisson Modeling", 2025 (arXiv 2506.19955), section
3.
"""

import torch
from torch import Tensor

from numclip_lightning.losses import zero_inflated_poisson
from numclip_lightning.methods.clipebc_blocks import CLIPEBCBlocks

__all__ = ["ZIP"]

# A rate of 0 has no logarithm.
_LEAST = 1e-6


class ZIP(CLIPEBCBlocks):
    """Blockwise counting whose blocks are empty for good with probability q, and else Poisson with the rate l.

    q is the probability of the bin 0, l the mean of the others; the count of a block is (1 - q) l, the same as
    CLIP-EBC's. What differs is the loss of the blocks, and that the variance of a Poisson is part of the spread.
    """

    def rates(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return log q and log(1 - q), (B, T, 2), and l, (B, T), from `block_logits`."""
        shares = logits.log_softmax(dim=-1)
        zero = torch.stack([shares[..., 0], shares[..., 1:].logsumexp(dim=-1)], dim=-1)
        return zero, logits[..., 1:].softmax(dim=-1) @ self.centers[1:].to(logits)

    def block_moments(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the variance of each block's count, (B, T) each."""
        zero, rate = self.rates(logits)
        some = zero[..., 1].exp()
        return some * rate, some * rate * (1 + (1 - some) * rate)

    def block_loss(self, logits: Tensor, counts: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of the counts (B, T)."""
        zero, rate = self.rates(logits)
        return zero_inflated_poisson(zero, rate.clamp(min=_LEAST), counts.to(rate)).mean()
