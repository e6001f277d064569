"""Losses over levels and ranks: cross-entropy and batch-wise KL, weighted by ordinal distance.

Published code and paper weight different things, and both are here by name (`Weighting`):

- `"logits"`, the published NumCLIP code: the weight multiplies the *logit*, `w * z`. The loss then depends on the
  absolute height of the logits: five equal logits of 20 cost 12.0, where cross-entropy costs log 5 = 1.61.
- `"similarities"`, the paper's formula: the weight multiplies the *similarity* `exp(z)` in the denominator, which is
  `z + log(w)`. A constant added to all logits changes nothing.
- `"none"`: every weight is 1.

The paper writes its weights as `Norm(beta * distance)` (as restated in YearCLIP, arXiv 2512.21337, eq. 12-13, where
Norm makes them sum to 1). We read Norm for both as the published code has it: the weights of the K-1 wrong levels sum
to K-1, so their mean is 1 and beta cancels.

All functions are pure: no loop over samples, no copy between host and device, no gradient to the weights. With logits
in half precision they compute in float32. A level outside 0..K-1 raises PyTorch's own index error (on CUDA a device
assert), because looking for it here would cost a synchronisation at every step.
"""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.losses.checks import checked

__all__ = ["Weighting", "distance_weights", "fcrc_image_to_text", "fcrc_text_to_image", "text_to_image_kl"]

Weighting = Literal["logits", "similarities", "none"]

# OrdinalCLIP sharpens the one-hot target over the batch with this factor before its softmax.
_TARGET_SHARPNESS = 10.0


def distance_weights(
    num_levels: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
) -> Tensor:
    """Return the weight of every level j for every true level y, the table behind `fcrc_image_to_text`.

    Entry (y, j) is `|y - j| / sum_k |y - k| * (K - 1)`, and 1 where j = y: the farther level weighs more, and the
    K-1 wrong levels weigh 1 on average.

    Args:
        num_levels: K, at least 1.
        dtype: The floating dtype of the table.
        device: Where the table is built.

    Returns:
        Shape (K, K); the row is the true level.

    Raises:
        ConfigError: If `num_levels` is less than 1.
    """
    if num_levels < 1:
        raise ConfigError(f"num_levels is {num_levels}; a scale has at least 1 level.")
    levels = torch.arange(num_levels, dtype=dtype, device=device)
    return _normalised((levels[:, None] - levels).abs(), num_levels)


def fcrc_image_to_text(logits: Tensor, level: Tensor, weighting: Weighting = "logits") -> Tensor:
    """Contrast each image with all phrases, wrong ones weighted by their distance (NumCLIP's FCRC, image to text).

    With `w` the rows of `distance_weights`: `"logits"` is the cross-entropy of `w * logits`, `"similarities"` that of
    `logits + log(w)`, `"none"` that of `logits`.

    Args:
        logits: Scaled similarities, shape (B, K), B and K at least 1, any floating dtype.
        level: True levels, int64 of shape (B,), 0..K-1.
        weighting: What the weights multiply; see the top of this module.

    Returns:
        The mean over the batch, a scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If shapes or dtypes don't fit, or `weighting` is unknown.
    """
    logits = checked(logits, level, "level")
    weights = distance_weights(logits.shape[1], dtype=logits.dtype, device=logits.device)[level]
    log_probability = _weighted(logits, weights, weighting).log_softmax(dim=1)
    # `gather` and not `cross_entropy`, which would silently skip a level of -100.
    return -log_probability.gather(1, level[:, None]).mean()


def fcrc_text_to_image(logits: Tensor, level: Tensor, weighting: Weighting = "logits") -> Tensor:
    """Contrast each phrase with all images of the batch, wrong ones weighted (NumCLIP's FCRC, text to image).

    As `text_to_image_kl`, after weighting. For level i and image b of level y_b the weight is
    `|i - y_b| / sum_n |i - y_n| * (K - 1)`, and 1 where y_b = i. As published, the weights are normalised to K-1 and
    not to the number of wrong images: their mean is (K-1) / (B - n_i), about 0.16 for 32 images and 5 levels. So the
    loss depends on the batch size of each process.

    Args:
        logits: Scaled similarities, shape (B, K), B and K at least 1, any floating dtype.
        level: True levels, int64 of shape (B,), 0..K-1. Levels that don't occur add nothing.
        weighting: What the weights multiply; see the top of this module.

    Returns:
        The mean over the levels that occur, a scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If shapes or dtypes don't fit, or `weighting` is unknown.
    """
    logits = checked(logits, level, "level")
    levels = torch.arange(logits.shape[1], device=logits.device)
    distance = (levels[:, None] - level).abs().to(logits.dtype)
    weights = _normalised(distance, logits.shape[1])
    return _batch_kl(_weighted(logits.T, weights, weighting), level)


def text_to_image_kl(logits: Tensor, rank: Tensor) -> Tensor:
    """Contrast each prompt with all images of the batch (OrdinalCLIP's KL term).

    For every rank i that occurs, the divergence of softmax_b(logits[b, i]) from the target softmax_b(10 * [y_b = i]),
    summed over the batch and averaged over those ranks.

    Args:
        logits: Scaled similarities, shape (B, R), B and R at least 1, any floating dtype.
        rank: True ranks (or levels), int64 of shape (B,), 0..R-1.

    Returns:
        A scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If shapes or dtypes don't fit.
    """
    return _batch_kl(checked(logits, rank, "rank").T, rank)


def _normalised(distance: Tensor, num_levels: int) -> Tensor:
    """Scale each row of distances to sum to K-1, with 1 in the place of distance 0."""
    # A sum below 1 is a row of zeros, none of which survives the next line.
    weights = distance / distance.sum(dim=1, keepdim=True).clamp(min=1) * (num_levels - 1)
    return torch.where(distance == 0, 1.0, weights)


def _weighted(logits: Tensor, weights: Tensor, weighting: Weighting) -> Tensor:
    check_choice("weighting", weighting, get_args(Weighting))
    if weighting == "logits":
        return weights * logits
    if weighting == "similarities":
        return logits + weights.log()  # never log(0): `_normalised` leaves no weight of 0
    return logits


def _batch_kl(logits: Tensor, level: Tensor) -> Tensor:
    """Return OrdinalCLIP's KL from logits of shape (K, B): one distribution over the batch for each level."""
    own = functional.one_hot(level, len(logits)).T
    log_target = (_TARGET_SHARPNESS * own.to(logits.dtype)).log_softmax(dim=1)
    divergence = (log_target.exp() * (log_target - logits.log_softmax(dim=1))).sum(dim=1)
    # Absent levels are masked, not indexed away: a selection would have to ask the device for its size.
    present = own.any(dim=1)
    return torch.where(present, divergence, 0.0).sum() / present.sum()
