"""Mean absolute errors within each true level, and their mean and largest (AMAE, MMAE).

Every level counts the same, however many images it has. A level that does not occur among the targets does not count.

Of levels they equal dlordinal's `amae` and `mmae`, but where a level occurs neither among the targets nor among the
predictions: dlordinal numbers the levels that occur, so that the distance over such a gap shrinks; here it does not.
"""

import torch
from torch import Tensor
from torchmetrics import Metric

from numclip_lightning.metrics.checks import check_levels, check_num_levels
from numclip_lightning.metrics.shares import check_shapes

__all__ = [
    "AverageLevelMAE",
    "LevelMAE",
    "WorstLevelMAE",
    "average_level_mae_compute",
    "level_mae_compute",
    "level_mae_update",
    "sum_by_level",
    "worst_level_mae_compute",
]


def level_mae_update(preds: Tensor, target: Tensor, level: Tensor, num_levels: int) -> tuple[Tensor, Tensor]:
    """Sum the absolute errors of each true level.

    Args:
        preds: Predicted levels or values, any one shape.
        target: True levels or values, of the same shape.
        level: True levels, int64 of the same shape, 0..K-1; `target` itself where that is the level.
        num_levels: K.

    Returns:
        The sums, float64 of shape (K,); and how many samples each level has, int64 of shape (K,).

    Raises:
        ConfigError: If the shapes differ, or a level is outside 0..K-1 (on the CPU; elsewhere a device assert).

    Example:
        >>> target = torch.tensor([0, 0, 2])
        >>> level_mae_update(torch.tensor([0, 1, 0]), target, target, 3)
        (tensor([1., 0., 2.], dtype=torch.float64), tensor([2, 0, 1]))
    """
    check_shapes(preds, target)
    check_shapes(level, target)
    check_levels("target", level, num_levels)
    errors = (preds.detach().double() - target.double()).abs()
    ones = torch.ones_like(errors, dtype=torch.int64)
    return sum_by_level(errors, level, num_levels), sum_by_level(ones, level, num_levels)


def sum_by_level(numbers: Tensor, level: Tensor, num_levels: int) -> Tensor:
    """Return the sum over the samples of each level, shape (K,), of the dtype of the numbers.

    Args:
        numbers: Any one shape.
        level: int64 of the same shape, 0..K-1.
        num_levels: K.

    Example:
        >>> sum_by_level(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 0, 2]), 3)
        tensor([3., 0., 4.])
    """
    return numbers.new_zeros(num_levels).scatter_add_(0, level.flatten().long(), numbers.flatten())


def level_mae_compute(error: Tensor, count: Tensor) -> Tensor:
    """Return the mean absolute error of each level, float32 of shape (K,); NaN for a level of which nothing was seen.

    Args:
        error: Sums of absolute errors, shape (K,).
        count: Numbers of samples, shape (K,).

    Example:
        >>> level_mae_compute(torch.tensor([1.0, 0.0, 2.0]), torch.tensor([2, 0, 1]))
        tensor([0.5000,    nan, 2.0000])
    """
    return (error / count).float()


def average_level_mae_compute(error: Tensor, count: Tensor) -> Tensor:
    """Return the mean over the levels that occur of their mean absolute errors (AMAE).

    Source: Baccianella, Esuli and Sebastiani, "Evaluation measures for ordinal regression", ISDA 2009.

    Args:
        error: Sums of absolute errors, shape (K,).
        count: Numbers of samples, shape (K,).

    Returns:
        A float32 scalar, 0 or more; NaN of nothing.

    Example:
        >>> average_level_mae_compute(torch.tensor([1.0, 0.0, 2.0]), torch.tensor([2, 0, 1]))
        tensor(1.2500)
    """
    return ((error / count.clamp(min=1)).sum() / (count > 0).sum()).float()


def worst_level_mae_compute(error: Tensor, count: Tensor) -> Tensor:
    """Return the mean absolute error of the level where it is largest (MMAE).

    Source: Cruz-Ramirez et al., "Metrics to guide a multi-objective evolutionary algorithm for ordinal classification",
    Neurocomputing 2014.

    Args:
        error: Sums of absolute errors, shape (K,).
        count: Numbers of samples, shape (K,).

    Returns:
        A float32 scalar, 0 or more; NaN of nothing.

    Example:
        >>> worst_level_mae_compute(torch.tensor([1.0, 0.0, 2.0]), torch.tensor([2, 0, 1]))
        tensor(2.)
    """
    worst = (error / count.clamp(min=1)).amax()
    return torch.where(count.sum() > 0, worst, torch.nan).float()


class LevelMAE(Metric):
    """The mean absolute error within each true level, shape (K,); NaN for a level of which nothing was seen.

    Args:
        num_levels: K, at least 1.

    Raises:
        ConfigError: If `num_levels` is less than 1.
    """

    higher_is_better = False
    full_state_update = False

    error: Tensor
    count: Tensor

    def __init__(self, num_levels: int) -> None:
        check_num_levels(num_levels)
        super().__init__()
        self.num_levels = num_levels
        self.add_state("error", default=torch.zeros(num_levels, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", default=torch.zeros(num_levels, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, level: Tensor | None = None) -> None:
        """Add a batch of tensors of one shape.

        Args:
            preds: Predicted levels, or values.
            target: True levels, or values.
            level: True levels, int64, where `target` is values; the errors are then in the target's unit.
        """
        error, count = level_mae_update(preds, target, target if level is None else level, self.num_levels)
        self.error += error
        self.count += count

    def compute(self) -> Tensor:
        """Return the errors, shape (K,)."""
        return level_mae_compute(self.error, self.count)


class AverageLevelMAE(LevelMAE):
    """AMAE, the mean over the levels that occur of their mean absolute errors; see `average_level_mae_compute`.

    Args:
        num_levels: K, at least 1.
    """

    def compute(self) -> Tensor:
        """Return the mean, 0 or more."""
        return average_level_mae_compute(self.error, self.count)


class WorstLevelMAE(LevelMAE):
    """MMAE, the mean absolute error of the worst level; see `worst_level_mae_compute`.

    Args:
        num_levels: K, at least 1.
    """

    def compute(self) -> Tensor:
        """Return the largest error, 0 or more."""
        return worst_level_mae_compute(self.error, self.count)
