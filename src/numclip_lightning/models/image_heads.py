"""Heads on image features, for methods without language: from features to logits or numbers.

All compute in float32 at least, under autocast too: in bfloat16 a year above 256 is a multiple of 2. None depends on
the length of the features, which is 20 in one tower and 2,000 in another.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from numclip_lightning.precision import at_least_float32, without_autocast

__all__ = ["CoralHead", "CosineHead", "LinearHead", "mean_square_one"]

# The maximum of CLIP's own logit scale (Radford et al. 2021, section 2.5).
_MULTIPLIER = 100.0


def mean_square_one(features: Tensor) -> Tensor:
    """Scale features of any length to mean square 1: (B, D) -> (B, D), in float32 at least."""
    return functional.rms_norm(at_least_float32(features), features.shape[-1:])


class LinearHead(nn.Linear):
    """Linear layer on features that are scaled to mean square 1, from (B, D) to (B, outputs).

    Args:
        dim: Size D of a feature.
        outputs: Size of an output row.
        bias: Whether it adds a bias.

    Example:
        >>> head = LinearHead(4, 3)
        >>> features = torch.randn(2, 4)
        >>> bool(torch.allclose(head(features), head(1000 * features), atol=1e-4))
        True
    """

    def __init__(self, dim: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(dim, outputs, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return one row of numbers for each feature of any length: (B, D) -> (B, outputs)."""
        with without_autocast(features.device.type):
            return super().forward(mean_square_one(features))


class CosineHead(nn.Module):
    """Cosine similarity of features and one learned direction for each class, times 100.

    Args:
        dim: Size D of a feature.
        num_classes: How many directions are learned.
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        # As in a linear layer. Long directions would turn slowly: only their angle matters.
        self.directions = nn.Parameter(torch.empty(num_classes, dim))
        nn.init.kaiming_uniform_(self.directions, a=math.sqrt(5))

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of each feature of any length: (B, D) -> (B, classes), in -100..100."""
        with without_autocast(features.device.type):
            images = functional.normalize(at_least_float32(features), dim=-1)
            return _MULTIPLIER * images @ functional.normalize(self.directions, dim=-1).T


class CoralHead(nn.Module):
    """One direction for all thresholds and one bias for each (CORAL): thresholds have the same order for all images.

    The biases start at even steps from 1 down, as in the authors' coral-pytorch.

    Args:
        dim: Size D of a feature.
        num_ranks: R, at least 2.

    Example:
        >>> CoralHead(dim=4, num_ranks=5).biases.data
        tensor([1.0000, 0.7500, 0.5000, 0.2500])
    """

    def __init__(self, dim: int, num_ranks: int) -> None:
        super().__init__()
        self.score = LinearHead(dim, 1, bias=False)
        self.biases = nn.Parameter(torch.arange(num_ranks - 1, 0, -1) / (num_ranks - 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of `P(y > k)` for each feature of any length: (B, D) -> (B, R-1)."""
        score: Tensor = self.score(features)
        return score + self.biases
