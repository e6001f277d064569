"""Fine stage that sees the image: from the phrases' logits and the image feature to a distribution over the values."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.models.image_heads import LinearHead
from numclip_lightning.precision import at_least_float32

__all__ = ["ImageStage", "Join"]

Join = Literal["product", "conditional"]


class ImageStage(nn.Module):
    """Residual distribution over the values of a scale, added to what the phrases say.

    With `z` the logits over the K levels, `k(r)` the level of value r, `n_k` the number of values in a level and
    `h = W f + b` a linear map of the image feature, scaled to mean square 1:

    - `product`: `p(r) ~ exp(h_r) p(k(r)) / n_{k(r)}`, normalised over all values: the image may overrule the phrases;
    - `conditional`: `p(r) = p(k(r)) exp(h_r) / sum_{s in k(r)} exp(h_s)`: the image divides each level, and the
      probability of a level remains what the phrases say.

    W and b start at 0: then both are the phrases' distribution, spread evenly over the values of each level. So words
    carry the reading with few images, and the image does with many.

    Args:
        dim: Size D of an image feature.
        levels: The level of each value, int64 (R,), not decreasing, from 0 to K-1 without a gap.
        join: How both are joined.

    Raises:
        ConfigError: If `join` is unknown or the levels have a gap or are out of order.

    Example:
        >>> stage = ImageStage(4, torch.tensor([0, 0, 1]))
        >>> stage(torch.randn(1, 4), torch.zeros(1, 2)).softmax(dim=1)
        tensor([[0.2500, 0.2500, 0.5000]], grad_fn=<SoftmaxBackward0>)
    """

    levels: Tensor
    sizes: Tensor

    def __init__(self, dim: int, levels: Tensor, join: Join = "product") -> None:
        super().__init__()
        check_choice("join", join, get_args(Join))
        if levels[0] != 0 or not torch.isin(levels.diff(), torch.tensor([0, 1])).all():
            raise ConfigError(f"levels are {levels.tolist()}; give the level of each value in order, without a gap.")
        self.join = join
        self.residual = LinearHead(dim, len(levels))
        nn.init.zeros_(self.residual.weight)
        nn.init.zeros_(self.residual.bias)
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("sizes", torch.bincount(levels), persistent=False)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return logits over the values: features (B, D) of any length and the levels' logits (B, K) -> (B, R)."""
        return self.combine(self.residual(features), logits)

    def combine(self, residual: Tensor, logits: Tensor) -> Tensor:
        """Return logits over the values, (B, R), for residuals (B, R) and the levels' logits (B, K)."""
        said = at_least_float32(logits).log_softmax(dim=1)[:, self.levels]
        if self.join == "product":
            return residual + said - self.sizes.to(said.dtype).log()[self.levels]
        within = [part.log_softmax(dim=1) for part in torch.split(residual, self.sizes.tolist(), dim=1)]
        return torch.cat(within, dim=1) + said
