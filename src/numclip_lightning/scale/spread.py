"""How far a predicted distribution is spread on the scale, whether its classes are levels or values."""

from collections.abc import Sequence

import torch
from torch import Tensor

from numclip_lightning.scale.ordinal import OrdinalScale

__all__ = ["SHARES", "class_moments", "quantiles_of", "spread_of"]

SHARES = (0.005, 0.025, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.975, 0.995)
"""The quantiles that are kept: the ends of the central 50, 80, 90, 95 and 99 %, and every tenth."""


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
    if scale.axis.logarithmic:
        return _uneven_moments(scale)
    sizes = (scale.upper - scale.lower) / scale.step + 1
    return scale.centers, (sizes.square() - 1) / 12 * scale.step**2


def _uneven_moments(scale: OrdinalScale) -> tuple[Tensor, Tensor]:
    """Return mean and variance of the values of each level, (K,) each, where they are not equally far apart."""
    values = scale.values.double()
    levels = scale.to_level(values)
    sizes = levels.bincount(minlength=scale.num_levels)
    mean = levels.bincount(weights=values, minlength=scale.num_levels) / sizes
    variance = levels.bincount(weights=(values - mean[levels]).square(), minlength=scale.num_levels) / sizes
    return mean.float(), variance.float()


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


def quantiles_of(logits: Tensor, scale: OrdinalScale, shares: Sequence[float] = SHARES) -> Tensor:
    """Return quantiles of each image's distribution over the values of the scale.

    A value stands for the numbers from half a step below it to half a step above, so that the distribution has no
    jumps: a quantile lies between half a step outside either end of the scale. On a logarithmic scale half a step is
    the root of its factor, and the numbers are spread evenly by their logarithms.

    Args:
        logits: (B, R) over values, or (B, K) over levels.
        scale: The scale.
        shares: Of the probability below each quantile, between 0 and 1, S of them.

    Returns:
        Shape (B, S), in the unit of the scale. Over levels S is 0: what is known is in their probabilities.
    """
    if logits.shape[1] == scale.num_levels:
        return logits.new_zeros(len(logits), 0)
    probabilities = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=-1)
    if probabilities.device.type != "mps":
        # Sums of thousands of float32 would move a quantile by a value.
        probabilities = probabilities.double()
    cumulative = probabilities.cumsum(dim=1)
    wanted = torch.tensor(list(shares), dtype=cumulative.dtype, device=cumulative.device)
    rank = (cumulative[:, None, :] < wanted[:, None]).sum(dim=-1).clamp(max=scale.num_ranks - 1)
    mass, above = probabilities.gather(1, rank), cumulative.gather(1, rank)
    inside = ((wanted - (above - mass)) / mass.clamp(min=torch.finfo(mass.dtype).tiny)).clamp(0, 1)
    axis = scale.axis
    found = axis.number(axis.values.to(mass)[rank] + (inside - 0.5) * axis.step)
    return found.masked_fill(probabilities.isnan().any(dim=1, keepdim=True), torch.nan).float()
