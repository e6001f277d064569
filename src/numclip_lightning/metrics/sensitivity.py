"""Minimum sensitivity: the recall of the level that is found least."""

import torch
from torch import Tensor
from torchmetrics import Metric

from numclip_lightning.metrics.by_level import sum_by_level
from numclip_lightning.metrics.checks import check_levels, check_num_levels
from numclip_lightning.metrics.shares import check_shapes

__all__ = ["MinimumSensitivity", "minimum_sensitivity_compute", "minimum_sensitivity_update"]


def minimum_sensitivity_update(preds: Tensor, target: Tensor, num_levels: int) -> tuple[Tensor, Tensor]:
    """Count for each true level how many samples were predicted as it, and how many there are.

    Args:
        preds: Predicted levels, int64 of any one shape.
        target: True levels, int64 of the same shape.
        num_levels: K.

    Returns:
        Two int64 tensors of shape (K,).

    Raises:
        ConfigError: If the shapes differ, or a level is outside 0..K-1.

    Example:
        >>> minimum_sensitivity_update(torch.tensor([0, 1, 2]), torch.tensor([0, 0, 2]), 3)
        (tensor([1, 0, 1]), tensor([2, 0, 1]))
    """
    check_shapes(preds, target)
    check_levels("preds", preds, num_levels)
    check_levels("target", target, num_levels)
    right = (preds == target).long()
    return sum_by_level(right, target, num_levels), sum_by_level(torch.ones_like(right), target, num_levels)


def minimum_sensitivity_compute(right: Tensor, count: Tensor) -> Tensor:
    """Return the lowest recall among the levels that occur, a scalar in 0..1; 0.0 of nothing.

    Args:
        right: How many samples of each level were predicted as it, shape (K,).
        count: How many there are, shape (K,).

    Example:
        >>> minimum_sensitivity_compute(torch.tensor([1, 0, 1]), torch.tensor([2, 0, 1]))
        tensor(0.5000)
    """
    lowest = torch.where(count > 0, right / count.clamp(min=1), 1.0).amin()
    return torch.where(count.sum() > 0, lowest, 0.0)


class MinimumSensitivity(Metric):
    """The lowest recall among the levels that occur: 0 where one level is never found.

    Args:
        num_levels: K, at least 1.

    Raises:
        ConfigError: If `num_levels` is less than 1.
    """

    higher_is_better = True
    full_state_update = False

    right: Tensor
    count: Tensor

    def __init__(self, num_levels: int) -> None:
        check_num_levels(num_levels)
        super().__init__()
        self.num_levels = num_levels
        for name in ("right", "count"):
            self.add_state(name, default=torch.zeros(num_levels, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch of predicted and true levels, int64 of one shape."""
        right, count = minimum_sensitivity_update(preds, target, self.num_levels)
        self.right += right
        self.count += count

    def compute(self) -> Tensor:
        """Return the lowest recall, 0..1."""
        return minimum_sensitivity_compute(self.right, self.count)
