"""Losses of whole distributions: over the values of a scale (soft labels, mean-variance), over a batch (KL).

All are pure functions without loops over samples or copies between host and device. Logits in half precision are
computed in float32. Ranks come from `OrdinalScale.to_rank`, which refuses targets outside the scale; they are not
checked again here.
"""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.losses.checks import check_logits, check_over_values

__all__ = [
    "Distance",
    "batch_kl",
    "mean_loss",
    "soft_label_loss",
    "soft_labels",
    "text_to_image_kl",
    "variance_loss",
]

Distance = Literal["absolute", "squared"]

# OrdinalCLIP multiplies the one-hot target over the batch by this factor before its softmax.
_TARGET_SHARPNESS = 10.0


def soft_labels(
    num_ranks: int, distance: Distance = "absolute", temperature: float = 1.0, rank: Tensor | None = None
) -> Tensor:
    """SORD's target distribution for every true rank y: `softmax_j(-phi(y, j) / temperature)`.

    The loss is torch's cross-entropy with probabilities as targets. Its minimum is the entropy of the labels, not 0.

    Source: Diaz and Marathe, "Soft Labels for Ordinal Regression", CVPR 2019.

    Args:
        num_ranks: R, at least 1.
        distance: phi, in steps of the scale: `absolute` is `|y - j|`, `squared` is `(y - j)^2`.
        temperature: How soft the labels are, greater than 0; near 0 they are one-hot.
        rank: The true ranks whose rows are returned, int64 (B,); None returns those of all ranks in order.

    Returns:
        Shape (B, R) or (R, R), float32; the row is the true rank, and sums to 1.

    Raises:
        ConfigError: If `distance` is unknown or `temperature` is not a positive number.

    Example:
        >>> labels = soft_labels(3)
        >>> labels
        tensor([[0.6652, 0.2447, 0.0900],
                [0.2119, 0.5761, 0.2119],
                [0.0900, 0.2447, 0.6652]])
        >>> functional.cross_entropy(torch.zeros(2, 3), labels[torch.tensor([0, 2])])
        tensor(1.0986)
    """
    check_choice("distance", distance, get_args(Distance))
    if not 0 < temperature < float("inf"):
        raise ConfigError(f"temperature is {temperature}; give a number greater than 0, such as 1.")
    ranks = torch.arange(num_ranks, dtype=torch.float32, device=None if rank is None else rank.device)
    true = ranks if rank is None else rank.to(ranks.dtype)
    phi = (true[:, None] - ranks).abs()
    return (-(phi if distance == "absolute" else phi.square()) / temperature).softmax(dim=1)


def soft_label_loss(logits: Tensor, target: Tensor, values: Tensor, width: Tensor | float) -> Tensor:
    """Cross-entropy with labels that fall with the squared distance from the target, in the target's unit.

    The labels are `softmax_j(-(y - v_j)^2 / (2 width^2))`: SORD's with the squared distance, but the target may be
    between two values, and the width does not depend on the step of the scale. Near a width of 0 the label is the
    nearest value.

    Source: Diaz and Marathe, "Soft Labels for Ordinal Regression", CVPR 2019.

    Args:
        logits: Over the values, shape (B, R), any floating dtype.
        target: True numbers, (B,).
        values: The number of each value of the scale, increasing, (R,).
        width: Standard deviation of the labels in the target's unit, greater than 0.

    Returns:
        The mean over the images, a scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If the logits are not (B, R).

    Example:
        >>> soft_label_loss(torch.zeros(1, 3), torch.tensor([31.0]), torch.tensor([30.0, 31.0, 32.0]), width=1.0)
        tensor(1.0986)
    """
    z = check_over_values(logits, target, values)
    distance = (target[:, None].to(z.dtype) - values.to(z.dtype)) / width
    return functional.cross_entropy(z, (-distance.square() / 2).softmax(dim=1))


def mean_loss(logits: Tensor, rank: Tensor) -> Tensor:
    """Half the squared error of the expected rank: `mean_b (m_b - y_b)^2 / 2`, `m = sum_j softmax(z)_j * j`.

    Source: Pan et al., "Mean-Variance Loss for Deep Age Estimation from a Face", CVPR 2018.

    Args:
        logits: Shape (B, R), any floating dtype.
        rank: True ranks, int64 of shape (B,), 0..R-1.

    Returns:
        The mean over the images, a scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If shapes or dtypes don't fit.

    Example:
        >>> mean_loss(torch.zeros(1, 5), torch.tensor([4]))  # the expected rank is 2
        tensor(2.)
    """
    mean, _ = _moments(check_logits(logits, rank, "rank"))
    return (mean - rank).square().mean() / 2


def variance_loss(logits: Tensor, rank: Tensor) -> Tensor:
    """Variance of the rank: `mean_b sum_j softmax(z)_j * (j - m_b)^2`, which sharpens the distribution.

    Source: same paper as `mean_loss`. The true rank is not used.

    Args:
        logits: Shape (B, R), any floating dtype.
        rank: True ranks, int64 of shape (B,); only their shape is checked.

    Returns:
        The mean over the images, a scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If shapes or dtypes don't fit.

    Example:
        >>> variance_loss(torch.zeros(1, 5), torch.tensor([4]))
        tensor(2.)
    """
    _, variance = _moments(check_logits(logits, rank, "rank"))
    return variance.mean()


def text_to_image_kl(logits: Tensor, rank: Tensor) -> Tensor:
    """Contrast each prompt with all images of the batch (OrdinalCLIP's KL term).

    For every rank i in the batch: the divergence of softmax_b(logits[b, i]) from the target softmax_b(10 * [y_b = i]),
    summed over the images. The result is the mean over these ranks.

    Source: Li et al., "OrdinalCLIP: Learning Rank Prompts for Language-Guided Ordinal Regression", NeurIPS 2022 (arXiv
    2206.02338), as its code has it.

    Args:
        logits: Scaled similarities, shape (B, R), B and R at least 1, any floating dtype.
        rank: True ranks (or levels), int64 of shape (B,), 0..R-1.

    Returns:
        A scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If shapes or dtypes don't fit.

    Example:
        >>> rank = torch.tensor([0, 2])
        >>> text_to_image_kl(torch.zeros(2, 3), rank)
        tensor(0.6926)
        >>> text_to_image_kl(10.0 * functional.one_hot(rank, 3), rank)  # the target itself
        tensor(0.)
    """
    return batch_kl(check_logits(logits, rank, "rank").T, rank)


def batch_kl(logits: Tensor, level: Tensor) -> Tensor:
    """OrdinalCLIP's KL divergence for logits of shape (K, B): one distribution over the batch for each level.

    Args:
        logits: Already checked, in float32 at least.
        level: True levels, int64 of shape (B,), 0..K-1. Levels that are not in the batch add nothing.

    Returns:
        The mean over the levels in the batch, a scalar.
    """
    own = functional.one_hot(level, len(logits)).T
    target = (_TARGET_SHARPNESS * own.to(logits.dtype)).log_softmax(dim=1)
    divergence = functional.kl_div(logits.log_softmax(dim=1), target, reduction="none", log_target=True).sum(dim=1)
    # Absent levels are masked, not indexed away: a selection would have to ask the device for its size.
    present = own.any(dim=1)
    return torch.where(present, divergence, 0.0).sum() / present.sum()


def _moments(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance (B,) of the rank under softmax(logits)."""
    chances = logits.softmax(dim=1)
    ranks = torch.arange(logits.shape[1], dtype=logits.dtype, device=logits.device)
    mean = (chances * ranks).sum(dim=1)
    return mean, (chances * (ranks - mean[:, None]).square()).sum(dim=1)
