"""NumCLIP's FCRC (fine-grained cross-modal ranking contrast): image-text contrast weighted by ordinal distance.

Published code and paper weight different things. Both are available by name (`Weighting`):

- `"logits"`, the published NumCLIP code: the weight multiplies the *logit*, `w * z`. The loss then depends on the
  absolute height of the logits: five equal logits of 20 cost 12.0, but their cross-entropy is log 5 = 1.61.
- `"similarities"`, the paper's formula: the weight multiplies the *similarity* `exp(z)` in the denominator, which is
  `z + log(w)`. A constant added to all logits changes nothing.
- `"none"`: every weight is 1. Image to text, this is plain cross-entropy.

The paper writes its weights as `Norm(beta * distance)` (as restated in YearCLIP, arXiv 2512.21337, eq. 12-13, where
Norm makes them sum to 1). For both forms we take Norm from the published code: the weights of the K-1 wrong levels sum
to K-1, so their mean is 1 and beta cancels.

Source: Du et al., "Teach CLIP to Develop a Number Sense for Ordinal Regression", ECCV 2024.

All functions are pure: no loop over samples, no copy between host and device, no gradient to the weights. Logits in
half precision are computed in float32. A level outside 0..K-1 raises PyTorch's own index error (on CUDA a device
assert), because a check here would need a synchronisation at every step.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.losses.checks import check_logits
from numclip_lightning.losses.distributions import batch_kl

__all__ = ["Weighting", "distance_weights", "distance_weights_of", "fcrc_image_to_text", "fcrc_text_to_image"]

Weighting = Literal["logits", "similarities", "none"]


def distance_weights(
    num_levels: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
) -> Tensor:
    """Weight of every level j for every true level y, the table behind `fcrc_image_to_text`.

    Entry (y, j) is `|y - j| / sum_k |y - k| * (K - 1)`, and 1 if j = y. A more distant level has a larger weight, and
    the K-1 wrong levels have weight 1 on average.

    Args:
        num_levels: K, at least 1.
        dtype: The floating dtype of the table.
        device: Where the table is built.

    Returns:
        Shape (K, K); the row is the true level.

    Raises:
        ConfigError: If `num_levels` is less than 1.

    Example:
        >>> distance_weights(3)
        tensor([[1.0000, 0.6667, 1.3333],
                [1.0000, 1.0000, 1.0000],
                [1.3333, 0.6667, 1.0000]])
    """
    if num_levels < 1:
        raise ConfigError(f"num_levels is {num_levels}; a scale has at least 1 level.")
    return distance_weights_of(torch.arange(num_levels, device=device), num_levels, dtype=dtype)


def distance_weights_of(level: Tensor, num_levels: int, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the rows of `distance_weights` for true levels, int64 (B,) -> (B, K), without the table of K x K."""
    levels = torch.arange(num_levels, dtype=dtype, device=level.device)
    return _normalised((level[:, None].to(dtype) - levels).abs(), num_levels)


def fcrc_image_to_text(logits: Tensor, level: Tensor, weighting: Weighting = "logits") -> Tensor:
    """Contrast each image with all phrases, wrong phrases weighted by their distance (FCRC, image to text).

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

    Example:
        >>> logits, level = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0])
        >>> fcrc_image_to_text(logits, level)
        tensor(0.3357)
        >>> fcrc_image_to_text(logits, level, "similarities")
        tensor(0.3547)
        >>> fcrc_image_to_text(logits, level, "none")
        tensor(0.4076)
    """
    check_choice("weighting", weighting, get_args(Weighting))
    logits = check_logits(logits, level, "level")
    if weighting != "none":
        weights = distance_weights_of(level, logits.shape[1], dtype=logits.dtype)
        logits = _weighted(logits, weights, weighting)
    # `gather` and not `cross_entropy`, which would silently skip a level of -100.
    return -logits.log_softmax(dim=1).gather(1, level[:, None]).mean()


def fcrc_text_to_image(logits: Tensor, level: Tensor, weighting: Weighting = "logits") -> Tensor:
    """Contrast each phrase with all images of the batch, wrong images weighted (FCRC, text to image).

    This is `text_to_image_kl` of the weighted logits. For level i and image b of level y_b the weight is
    `|i - y_b| / sum_n |i - y_n| * (K - 1)`, and 1 if y_b = i. As published, the weights are normalised to K-1 and
    not to the number of wrong images: their mean is (K-1) / (B - n_i), about 0.16 for 32 images and 5 levels. So the
    loss depends on the batch size of each process.

    Args:
        logits: Scaled similarities, shape (B, K), B and K at least 1, any floating dtype.
        level: True levels, int64 of shape (B,), 0..K-1. Levels that are not in the batch add nothing.
        weighting: What the weights multiply; see the top of this module.

    Returns:
        The mean over the levels in the batch, a scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If shapes or dtypes don't fit, or `weighting` is unknown.

    Example:
        >>> logits = torch.tensor([[2.0, 1.0, 1.0], [1.0, 1.0, 2.0]])
        >>> fcrc_text_to_image(logits, torch.tensor([0, 2]))
        tensor(0.6926)
        >>> fcrc_text_to_image(logits, torch.tensor([0, 2]), "none")
        tensor(0.3128)
    """
    check_choice("weighting", weighting, get_args(Weighting))
    logits = check_logits(logits, level, "level")
    if weighting == "none":
        return batch_kl(logits.T, level)
    levels = torch.arange(logits.shape[1], device=logits.device)
    distance = (levels[:, None] - level).abs().to(logits.dtype)
    return batch_kl(_weighted(logits.T, _normalised(distance, logits.shape[1]), weighting), level)


def _normalised(distance: Tensor, num_levels: int) -> Tensor:
    """Scale each row of distances to sum to K-1, with 1 in the place of distance 0."""
    # A sum below 1 is a row of zeros, and the next line replaces all of them.
    weights = distance / distance.sum(dim=1, keepdim=True).clamp(min=1) * (num_levels - 1)
    return torch.where(distance == 0, 1.0, weights)


def _weighted(logits: Tensor, weights: Tensor, weighting: Weighting) -> Tensor:
    if weighting == "logits":
        return weights * logits
    return logits + weights.log()  # never log(0): `_normalised` leaves no weight of 0
