"""Metrics of predicted levels: accuracy within a distance, and the quadratic kappa."""

import torch
from torch import Tensor
from torchmetrics import Metric

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics.checks import check_num_levels
from numclip_lightning.metrics.shares import ShareWithin, check_shapes

__all__ = ["AccuracyWithin", "QuadraticKappa", "quadratic_kappa_compute", "quadratic_kappa_update"]


class AccuracyWithin(ShareWithin):
    """Share of samples whose predicted level is at most `distance` levels from the true one.

    Args:
        distance: In levels, 0 (plain accuracy) or more.

    Raises:
        ConfigError: If `distance` is negative.

    Example:
        >>> accuracy = AccuracyWithin(1)
        >>> accuracy(torch.tensor([0, 1, 4]), torch.tensor([1, 1, 1]))
        tensor(0.6667)
    """

    def __init__(self, distance: int = 1) -> None:
        if distance < 0:
            raise ConfigError(f"distance is {distance}; give a number of levels, 0 or more.")
        super().__init__(distance)


def quadratic_kappa_update(preds: Tensor, target: Tensor, num_levels: int) -> Tensor:
    """Count how often each level was predicted for each true level, without a wait for the device.

    Args:
        preds: Predicted levels, int64 of any one shape.
        target: True levels, int64 of the same shape.
        num_levels: K.

    Returns:
        The confusion matrix, int64 of shape (K, K); the row is the true level.

    Raises:
        ConfigError: If the shapes differ, or a level is outside 0..K-1. On devices other than the CPU, such a level is
            a device assert, because a check would need a wait at every update.
    """
    check_shapes(preds, target)
    outside = torch.zeros_like(preds, dtype=torch.bool)
    for name, level in (("preds", preds), ("target", target)):
        wrong = (level < 0) | (level >= num_levels)
        if level.device.type == "cpu" and wrong.any():
            raise ConfigError(
                f"{name} holds the level {int(level[wrong][0])}; a scale of {num_levels} levels has 0 to "
                f"{num_levels - 1}."
            )
        outside = outside | wrong
    # Not `bincount`, which asks the device for the size of its result. Index K * K is outside, and refused.
    pair = torch.where(outside, num_levels**2, target * num_levels + preds).flatten()
    counts = torch.zeros(num_levels**2, dtype=torch.int64, device=pair.device)
    return counts.scatter_add_(0, pair, torch.ones_like(pair)).reshape(num_levels, num_levels)


def quadratic_kappa_compute(confusion: Tensor) -> Tensor:
    """Cohen's kappa with quadratic weights.

    One minus the mean squared distance of predicted and true levels, divided by its value for independent levels.

    Args:
        confusion: int64 of shape (K, K).

    Returns:
        A scalar, at most 1. 0.0 without samples, and 1.0 if all predictions and all targets are one level, for which
        the definition gives 0/0.

    Example:
        >>> preds, target = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1])
        >>> quadratic_kappa_compute(quadratic_kappa_update(preds, target, num_levels=3))
        tensor(0.8000)
    """
    levels = torch.arange(len(confusion), device=confusion.device)
    squared = (levels[:, None] - levels) ** 2
    # Integers throughout: exact, and the same on every device and under autocast.
    observed = (squared * confusion).sum() * confusion.sum()
    expected = (squared * confusion.sum(dim=1, keepdim=True) * confusion.sum(dim=0)).sum()
    perfect = (observed == 0) & (confusion.sum() > 0)
    return torch.where(expected > 0, 1 - observed / expected.clamp(min=1), perfect.float())


class QuadraticKappa(Metric):
    """Cohen's kappa with quadratic weights over levels; see `quadratic_kappa_compute` for the limiting cases.

    Not torchmetrics' `MulticlassCohenKappa`, which asks the device for a size at every update, computes in float32 and
    gives NaN for a single level.

    Args:
        num_levels: K, at least 1.

    Raises:
        ConfigError: If `num_levels` is less than 1.
    """

    higher_is_better = True
    full_state_update = False

    confusion: Tensor

    def __init__(self, num_levels: int) -> None:
        check_num_levels(num_levels)
        super().__init__()
        self.num_levels = num_levels
        shape = (num_levels, num_levels)
        self.add_state("confusion", default=torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch of predicted and true levels, int64 of one shape."""
        self.confusion += quadratic_kappa_update(preds, target, self.num_levels)

    def compute(self) -> Tensor:
        """Return kappa, at most 1."""
        return quadratic_kappa_compute(self.confusion)
