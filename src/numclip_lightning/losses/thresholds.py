"""Losses of ordinal regression by thresholds: binary answers to "is the rank greater than k?" (CORAL, CORN).

Both are pure functions without loops over samples or copies between host and device. Logits in half precision are
computed in float32. Ranks come from `OrdinalScale.to_rank`, which refuses targets outside the scale; they are not
checked again here.
"""

import torch
from torch import Tensor
from torch.nn import functional

from numclip_lightning.losses.checks import check_logits

__all__ = ["coral_loss", "corn_loss"]


def coral_loss(logits: Tensor, rank: Tensor) -> Tensor:
    """Sum of R-1 binary cross-entropies, one for each threshold k: is the rank greater than k?

    `mean_b -sum_k [y_b > k] log sigmoid(z_bk) + [y_b <= k] log(1 - sigmoid(z_bk))`.

    Source: Cao, Mirjalili and Raschka, "Rank Consistent Ordinal Regression for Neural Networks with Application to Age
    Estimation", Pattern Recognition Letters 2020 (arXiv 1901.07884); all thresholds have the same weight.

    Args:
        logits: Of `P(y > k)`, shape (B, R-1), any floating dtype.
        rank: True ranks, int64 of shape (B,), 0..R-1.

    Returns:
        The mean over the images, a scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If shapes or dtypes don't fit.

    Example:
        >>> logits = torch.tensor([[4.0, -4.0], [4.0, 4.0]])  # surely rank 1, surely rank 2
        >>> coral_loss(logits, torch.tensor([1, 2]))
        tensor(0.0363)
        >>> coral_loss(logits, torch.tensor([0, 0]))
        tensor(6.0363)
    """
    return _threshold_errors(check_logits(logits, rank, "rank", "threshold"), rank).sum(dim=1).mean()


def corn_loss(logits: Tensor, rank: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy of the thresholds that an image reaches: given y > k-1, is y > k?

    Threshold k is asked only of images with `y > k-1`. An image of rank y answers `min(y + 1, R - 1)` questions, and
    the mean is over all questions of the batch. So images of high ranks have more weight.

    Source: Shi, Cao and Raschka, "Deep Neural Networks for Rank-Consistent Ordinal Regression Based on Conditional
    Probabilities", Pattern Analysis and Applications 2023 (arXiv 2111.08851).

    Args:
        logits: Of `P(y > k | y > k-1)`, shape (B, R-1), any floating dtype.
        rank: True ranks, int64 of shape (B,), 0..R-1.
        weight: What the answers of each image count, (B,); None is 1 for all. The number of questions is not weighted.

    Returns:
        The mean over the questions, a scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If shapes or dtypes don't fit.

    Example:
        >>> corn_loss(torch.tensor([[-4.0, 9.0]]), torch.tensor([0]))  # the second question is not asked
        tensor(0.0181)
    """
    logits = check_logits(logits, rank, "rank", "threshold")
    asked = _thresholds(logits) <= rank[:, None]
    # The first threshold is asked of every image, so the number is never 0.
    errors = torch.where(asked, _threshold_errors(logits, rank), 0.0)
    return (errors if weight is None else weight[:, None] * errors).sum() / asked.sum()


def _thresholds(logits: Tensor) -> Tensor:
    return torch.arange(logits.shape[1], device=logits.device)


def _threshold_errors(logits: Tensor, rank: Tensor) -> Tensor:
    """Return the binary cross-entropy of every threshold, (B, R-1)."""
    beyond = (rank[:, None] > _thresholds(logits)).to(logits.dtype)
    return functional.binary_cross_entropy_with_logits(logits, beyond, reduction="none")
