"""Means over samples: the share of samples within a distance of their target, of values and of levels."""

import torch
from torch import Tensor
from torchmetrics import MeanMetric

from numclip_lightning.errors import ConfigError

__all__ = ["SampleMean", "ShareWithin", "check_shapes", "is_within"]


def is_within(preds: Tensor, target: Tensor, tolerance: float) -> Tensor:
    """Return for each sample whether `|preds - target| <= tolerance`.

    Args:
        preds: Values or levels, any one shape.
        target: True values or levels, of the same shape.
        tolerance: The largest distance that counts, in the same unit.

    Returns:
        A bool tensor of the same shape.

    Raises:
        ConfigError: If the shapes differ.

    Example:
        >>> is_within(torch.tensor([25.0, 31.0]), torch.tensor([30.0, 37.0]), 5)
        tensor([ True, False])
    """
    check_shapes(preds, target)
    return (preds - target).abs() <= tolerance


class SampleMean(MeanMetric):
    """Base of metrics that are the mean of one number for each sample; 0.0 without samples, never NaN for that."""

    # torchmetrics leaves open which way a mean is better; subclasses know.
    higher_is_better: bool | None = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(nan_strategy="disable")

    def compute(self) -> Tensor:
        """Return the mean, a scalar."""
        return torch.where(self.weight > 0, super().compute(), 0.0)


class ShareWithin(SampleMean):
    """Share of samples within a distance of their target.

    Args:
        tolerance: The largest distance that counts, in the unit of the predictions.
    """

    higher_is_better = True

    def __init__(self, tolerance: float) -> None:
        super().__init__()
        self.tolerance = tolerance

    def update(self, preds: Tensor, target: Tensor) -> None:  # type: ignore[override]
        """Add a batch: two tensors of one shape."""
        super().update(is_within(preds, target, self.tolerance).float())


def check_shapes(preds: Tensor, target: Tensor) -> None:
    """Raise ConfigError if predictions and targets would broadcast."""
    if preds.shape != target.shape:
        raise ConfigError(
            f"preds have shape {tuple(preds.shape)} and target has shape {tuple(target.shape)}; give one "
            "prediction for each target, in one shape."
        )
