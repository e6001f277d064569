"""How far a predicted distribution is spread on the scale, whether its classes are levels or values."""

import torch
from torch import Tensor

from numclip_lightning.scale.ordinal import OrdinalScale

__all__ = ["class_moments", "spread_of"]


def class_moments(scale: OrdinalScale, classes: int) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance of the values of each class.

    Args:
        scale: The scale.
        classes: K, if the classes are levels, or R, if they are values. Within a level, values are equally probable.

    Returns:
        Two float32 tensors of shape (K,) or (R,); a single value has no variance.
    """
    if classes != scale.num_levels:
        return scale.values, torch.zeros(scale.num_ranks)
    sizes = (scale.upper - scale.lower) / scale.step + 1
    return scale.centers, (sizes.square() - 1) / 12 * scale.step**2


def spread_of(logits: Tensor, scale: OrdinalScale) -> Tensor:
    """Return the standard deviation of each image's distribution over the values of the scale.

    Args:
        logits: (B, K) over levels or (B, R) over values.
        scale: The scale.

    Returns:
        Shape (B,), in the unit of the scale; NaN where one class is certain (all other logits are minus infinity): a
        method that predicts the number alone has no distribution.
    """
    shares = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=-1)
    means, variances = (part.to(shares) for part in class_moments(scale, logits.shape[1]))
    mean = (shares * means).sum(dim=1, keepdim=True)
    spread = (shares * ((means - mean).square() + variances)).sum(dim=1).sqrt()
    certain = logits.isneginf().sum(dim=1) == logits.shape[1] - 1
    return spread.masked_fill(certain & (logits.shape[1] > 1), torch.nan)
