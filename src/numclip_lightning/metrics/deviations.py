"""Metrics of the errors of predicted values: bias (mean signed error) and median absolute error."""

import torch
from torch import Tensor

from numclip_lightning.metrics.kept import KeptSamples
from numclip_lightning.metrics.means import ScoreMean
from numclip_lightning.metrics.shares import check_shapes

__all__ = [
    "Bias",
    "MedianError",
    "bias_update",
    "median_error_compute",
    "median_error_update",
]


def bias_update(preds: Tensor, target: Tensor) -> tuple[Tensor, int]:
    """Sum the signed errors `preds - target`.

    Args:
        preds: Values, any one shape.
        target: True values, of the same shape.

    Returns:
        The sum, a scalar float64 in the target's unit; and how many there are.

    Raises:
        ConfigError: If the shapes differ.

    Example:
        >>> bias_update(torch.tensor([3.0, 5.0]), torch.tensor([2.0, 2.0]))
        (tensor(4., dtype=torch.float64), 2)
    """
    check_shapes(preds, target)
    return (preds.detach().double() - target.double()).sum(), target.numel()


class Bias(ScoreMean):
    """The mean signed error in the target's unit: above 0 if predictions are too high, best at 0, NaN of nothing."""

    # Neither: the nearer to 0, the better.
    higher_is_better = None

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch: two tensors of one shape."""
        self.add(*bias_update(preds, target))


def median_error_update(preds: Tensor, target: Tensor) -> Tensor:
    """Return the absolute errors of a batch, float64 of shape (B,).

    Args:
        preds: Values, any one shape.
        target: True values, of the same shape.

    Raises:
        ConfigError: If the shapes differ.

    Example:
        >>> median_error_update(torch.tensor([3.0, 5.0]), torch.tensor([2.0, 9.0]))
        tensor([1., 4.], dtype=torch.float64)
    """
    check_shapes(preds, target)
    return (preds.detach().double() - target.double()).abs().flatten()


def median_error_compute(errors: Tensor) -> Tensor:
    """Return the median of the errors; of an even number, the mean of the two in the middle.

    `torch.median` takes the lower of the two, and `torch.quantile` refuses more than 16 million.

    Args:
        errors: Shape (N,).

    Returns:
        A float32 scalar; NaN of nothing, and where an error is.

    Example:
        >>> median_error_compute(torch.tensor([4.0, 1.0, 2.0, 9.0]))
        tensor(3.)
    """
    if not len(errors):
        return torch.tensor(torch.nan, device=errors.device)
    # NaN sorts last: with one among them there is no median.
    ordered = errors.sort().values
    middle = (ordered[(len(errors) - 1) // 2] + ordered[len(errors) // 2]) / 2
    return torch.where(ordered[-1].isnan(), torch.nan, middle).float()


class MedianError(KeptSamples):
    """The median absolute error, in the target's unit; NaN of nothing. It keeps the error of each sample."""

    higher_is_better = False

    def __init__(self) -> None:
        super().__init__("errors", dtype=torch.float64)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch: two tensors of one shape."""
        self.keep(median_error_update(preds, target))

    def compute(self) -> Tensor:
        """Return the median."""
        return median_error_compute(*self.kept())
