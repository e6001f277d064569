"""Losses of ordinal regression without language, over the ranks of a scale.

All are means over the images of a batch, but for `corn_loss`, a mean over the questions that they are asked. All
functions are pure: no loop over samples, no copy between host and device. With logits in half precision they compute
in float32. Ranks come from `OrdinalScale.to_rank`, which refuses what lies outside; here nobody looks again.
"""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.losses.checks import checked

__all__ = ["Distance", "coral_loss", "corn_loss", "mean_loss", "soft_labels", "sord_loss", "variance_loss"]

Distance = Literal["absolute", "squared"]


def soft_labels(num_ranks: int, distance: Distance = "absolute", temperature: float = 1.0) -> Tensor:
    """Return SORD's target for every true rank y: `softmax_j(-phi(y, j) / temperature)`.

    Source: Diaz and Marathe, "Soft Labels for Ordinal Regression", CVPR 2019.

    Args:
        num_ranks: R, at least 1.
        distance: phi, in steps of the scale: `absolute` is `|y - j|`, `squared` is `(y - j)^2`.
        temperature: How soft the labels are, greater than 0; near 0 they are one-hot.

    Returns:
        Shape (R, R), float32; the row is the true rank, and sums to 1.

    Raises:
        ConfigError: If `distance` is unknown or `temperature` is not a positive number.
    """
    check_choice("distance", distance, get_args(Distance))
    if not 0 < temperature < float("inf"):
        raise ConfigError(f"temperature is {temperature}; give a number greater than 0, such as 1.")
    ranks = torch.arange(num_ranks, dtype=torch.float32)
    phi = (ranks[:, None] - ranks).abs()
    return (-(phi if distance == "absolute" else phi.square()) / temperature).softmax(dim=1)


def sord_loss(logits: Tensor, rank: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy with soft labels (SORD).

    Its least value is the entropy of the labels, not 0.

    Args:
        logits: Shape (B, R), any floating dtype.
        rank: True ranks, int64 of shape (B,), 0..R-1.
        labels: The table of `soft_labels`, shape (R, R), on the device of the logits.

    Returns:
        A scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If shapes or dtypes don't fit.
    """
    logits = checked(logits, rank, "rank")
    return -(labels.to(logits.dtype)[rank] * logits.log_softmax(dim=1)).sum(dim=1).mean()


def mean_loss(logits: Tensor, rank: Tensor) -> Tensor:
    """Return half the squared error of the expected rank: `mean_b (m_b - y_b)^2 / 2`, `m = sum_j softmax(z)_j * j`.

    Source: Pan et al., "Mean-Variance Loss for Deep Age Estimation from a Face", CVPR 2018.

    Args:
        logits: Shape (B, R), any floating dtype.
        rank: True ranks, int64 of shape (B,), 0..R-1.

    Returns:
        A scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If shapes or dtypes don't fit.
    """
    mean, _ = _moments(checked(logits, rank, "rank"))
    return (mean - rank).square().mean() / 2


def variance_loss(logits: Tensor, rank: Tensor) -> Tensor:
    """Return the variance of the rank: `mean_b sum_j softmax(z)_j * (j - m_b)^2`, which sharpens the distribution.

    Source: as of `mean_loss`, the variance loss. The true rank has no part in it.

    Args:
        logits: Shape (B, R), any floating dtype.
        rank: True ranks, int64 of shape (B,); for their shape alone.

    Returns:
        A scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If shapes or dtypes don't fit.
    """
    _, variance = _moments(checked(logits, rank, "rank"))
    return variance.mean()


def coral_loss(logits: Tensor, rank: Tensor) -> Tensor:
    """Return the sum of R-1 binary cross-entropies, one for each threshold k: is the rank greater than k?

    `mean_b -sum_k [y_b > k] log sigmoid(z_bk) + [y_b <= k] log(1 - sigmoid(z_bk))`.

    Source: Cao, Mirjalili and Raschka, "Rank Consistent Ordinal Regression for Neural Networks with Application to Age
    Estimation", Pattern Recognition Letters 2020 (arXiv 1901.07884), all thresholds weighing the same.

    Args:
        logits: Of `P(y > k)`, shape (B, R-1), any floating dtype.
        rank: True ranks, int64 of shape (B,), 0..R-1.

    Returns:
        A scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If shapes or dtypes don't fit.
    """
    return _threshold_errors(checked(logits, rank, "rank", "threshold"), rank).sum(dim=1).mean()


def corn_loss(logits: Tensor, rank: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of the thresholds that an image reaches: given y > k-1, is y > k?

    Threshold k is asked of the images with `y > k-1` alone; an image of rank y answers `min(y + 1, R - 1)` questions,
    and the mean is over all of them. So images of high ranks weigh more.

    Source: Shi, Cao and Raschka, "Deep Neural Networks for Rank-Consistent Ordinal Regression Based on Conditional
    Probabilities", Pattern Analysis and Applications 2023 (arXiv 2111.08851).

    Args:
        logits: Of `P(y > k | y > k-1)`, shape (B, R-1), any floating dtype.
        rank: True ranks, int64 of shape (B,), 0..R-1.

    Returns:
        A scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If shapes or dtypes don't fit.
    """
    logits = checked(logits, rank, "rank", "threshold")
    asked = _thresholds(logits) <= rank[:, None]
    # The first threshold is asked of every image, so that the number is never 0.
    return torch.where(asked, _threshold_errors(logits, rank), 0.0).sum() / asked.sum()


def _moments(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance (B,) of the rank under softmax(logits)."""
    chances = logits.softmax(dim=1)
    ranks = torch.arange(logits.shape[1], dtype=logits.dtype, device=logits.device)
    mean = (chances * ranks).sum(dim=1)
    return mean, (chances * (ranks - mean[:, None]).square()).sum(dim=1)


def _thresholds(logits: Tensor) -> Tensor:
    return torch.arange(logits.shape[1], device=logits.device)


def _threshold_errors(logits: Tensor, rank: Tensor) -> Tensor:
    """Return the binary cross-entropy of every threshold, (B, R-1)."""
    beyond = (rank[:, None] > _thresholds(logits)).to(logits.dtype)
    return functional.binary_cross_entropy_with_logits(logits, beyond, reduction="none")
