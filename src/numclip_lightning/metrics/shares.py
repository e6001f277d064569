"""The share of samples within a distance of their target: of values and of levels."""

import torch
from torch import Tensor
from torchmetrics import Metric

from numclip_lightning.errors import ConfigError

__all__ = ["ShareWithin", "check_shapes", "share_within_compute", "share_within_update"]


def share_within_update(preds: Tensor, target: Tensor, tolerance: float) -> tuple[Tensor, int]:
    """Count the samples with `|preds - target| <= tolerance`.

    Args:
        preds: Values or levels, any one shape.
        target: True values or levels, of the same shape.
        tolerance: The largest distance that counts, in the same unit.

    Returns:
        How many lie within, a scalar int64; and how many there are.

    Raises:
        ConfigError: If the shapes differ.
    """
    check_shapes(preds, target)
    return ((preds - target).abs() <= tolerance).sum(), target.numel()


def share_within_compute(within: Tensor, total: Tensor) -> Tensor:
    """Return the share `within / total`, a scalar in 0..1; 0.0 of nothing."""
    return within / total.clamp(min=1)


class ShareWithin(Metric):
    """The share of samples within a distance of their target; two integer sums."""

    higher_is_better = True
    full_state_update = False

    within: Tensor
    total: Tensor

    def __init__(self, tolerance: float) -> None:
        super().__init__()
        self._tolerance = tolerance
        self.add_state("within", default=torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch: two tensors of one shape."""
        within, total = share_within_update(preds, target, self._tolerance)
        self.within += within
        self.total += total

    def compute(self) -> Tensor:
        """Return the share, 0..1."""
        return share_within_compute(self.within, self.total)


def check_shapes(preds: Tensor, target: Tensor) -> None:
    """Raise ConfigError where predictions and targets would broadcast."""
    if preds.shape != target.shape:
        raise ConfigError(
            f"preds have shape {tuple(preds.shape)} and target has shape {tuple(target.shape)}; give one "
            "prediction for each target, in one shape."
        )
