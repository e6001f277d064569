"""Kendall's rank correlation tau-b, in O(N log^2 N) time and O(N) memory."""

import torch
from torch import Tensor
from torch.nn import functional

from numclip_lightning.metrics.kept import KeptSamples
from numclip_lightning.metrics.shares import check_shapes

__all__ = ["Kendall", "kendall_compute", "kendall_update"]


def kendall_update(preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Check a batch and return it as two float64 tensors of shape (B,), which keep every digit.

    Args:
        preds: Values, any one shape.
        target: True values, of the same shape.

    Raises:
        ConfigError: If the shapes differ.

    Example:
        >>> kendall_update(torch.tensor([[3], [5]]), torch.tensor([[2], [9]]))
        (tensor([3., 5.], dtype=torch.float64), tensor([2., 9.], dtype=torch.float64))
    """
    check_shapes(preds, target)
    return preds.detach().flatten().double(), target.detach().flatten().double()


def kendall_compute(preds: Tensor, target: Tensor) -> Tensor:
    """Return Kendall's tau-b: pairs in the same order less pairs in the other, with a correction for ties.

    `(P - Q) / sqrt((n0 - n1) (n0 - n2))`: of all n0 pairs, n1 are tied in the predictions and n2 in the targets.
    Source: Knight, "A computer method for calculating Kendall's tau with ungrouped data", 1966.

    torchmetrics' `kendall_rank_corrcoef` compares every pair in a Python loop, and its tau is NaN for a constant.

    Args:
        preds: Values, shape (N,).
        target: True values, shape (N,).

    Returns:
        A float32 scalar in -1..1; 0.0 where either is constant, which includes N < 2; NaN where a value is.

    Example:
        >>> kendall_compute(torch.tensor([1.0, 2.0, 3.0, 3.0]), torch.tensor([1.0, 3.0, 2.0, 2.0]))
        tensor(0.2000)
    """
    if preds.isnan().any() or target.isnan().any():
        return torch.tensor(torch.nan, device=preds.device)
    size = len(preds)
    x, tied_x = _ranks(preds)
    y, tied_y = _ranks(target)
    both = x * size + y
    _, tied_both = _ranks(both)
    pairs = size * (size - 1) // 2
    # Sorted by x, and by y where x is tied: what is out of order in y is a pair in the other order.
    difference = pairs - tied_x - tied_y + tied_both - 2 * _inversions(y[both.argsort()])
    # Two roots: the product of two numbers of pairs overflows from 80,000 samples on.
    spread = (pairs - tied_x).double().sqrt() * (pairs - tied_y).double().sqrt()
    return (difference / spread.clamp(min=1)).clamp(-1, 1).float()


def _ranks(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return dense ranks from 0, and how many pairs are tied."""
    _, rank, count = torch.unique(values, return_inverse=True, return_counts=True)
    return rank, (count * (count - 1) // 2).sum()


def _inversions(ranks: Tensor) -> Tensor:
    """Return how many pairs are out of order, int64: a merge sort whose every level is one call on all blocks."""
    size = 1 << max(len(ranks) - 1, 0).bit_length()
    # What fills up to a power of 2 is last and largest, so it is out of order with nothing.
    blocks = functional.pad(ranks, (0, size - len(ranks)), value=len(ranks))[:, None]
    total = torch.zeros((), dtype=torch.int64, device=ranks.device)
    while len(blocks) > 1:
        left, right = blocks[0::2].contiguous(), blocks[1::2].contiguous()
        total += (left.shape[1] - torch.searchsorted(left, right, right=True)).sum()
        blocks = torch.cat([left, right], dim=1).sort(dim=1).values
    return total


class Kendall(KeptSamples):
    """Kendall's tau-b of values and targets; it keeps all samples, as ranks need them."""

    higher_is_better = True

    def __init__(self) -> None:
        super().__init__("preds", "target", dtype=torch.float64)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch: two tensors of one shape."""
        self.keep(*kendall_update(preds, target))

    def compute(self) -> Tensor:
        """Return tau-b, -1..1."""
        return kendall_compute(*self.kept())
