"""The cumulative score curve: the share of errors of at most t, for each t of a list."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics.shares import check_shapes

__all__ = ["CumulativeScoreCurve", "score_curve_update"]


def score_curve_update(preds: Tensor, target: Tensor, tolerances: Tensor) -> tuple[Tensor, int]:
    """Count the samples with `|preds - target| <= t`, for each t.

    Args:
        preds: Values, any one shape.
        target: True values, of the same shape.
        tolerances: Each t, shape (T,), in the target's unit.

    Returns:
        The counts, int64 of shape (T,); and how many samples there are.

    Raises:
        ConfigError: If the shapes differ.

    Example:
        >>> score_curve_update(torch.tensor([1.0, 5.0]), torch.tensor([2.0, 2.0]), torch.tensor([0.0, 1.0, 3.0]))
        (tensor([0, 1, 2]), 2)
    """
    check_shapes(preds, target)
    errors = (preds.detach() - target).abs().flatten()
    # Memory of B * T bools; a comparison with a number is made in the errors' dtype, as `CumulativeScore` makes it.
    return (errors[:, None] <= tolerances.to(errors.dtype)).sum(dim=0), target.numel()


class CumulativeScoreCurve(Metric):
    """CS@t for each t of a list, shape (T,): `CumulativeScore` at many tolerances at once; zeros of nothing.

    Args:
        tolerances: Each t in the target's unit, 0 or more.

    Raises:
        ConfigError: If there is no tolerance, or one is negative or not finite.
    """

    higher_is_better = True
    full_state_update = False

    within: Tensor
    total: Tensor
    tolerances: Tensor

    def __init__(self, tolerances: Sequence[float]) -> None:
        if not tolerances or not all(math.isfinite(t) and t >= 0 for t in tolerances):
            raise ConfigError(
                f"tolerances is {list(tolerances)}; give one distance or more, each 0 or more in the target's unit."
            )
        super().__init__()
        self.register_buffer("tolerances", torch.tensor(tolerances, dtype=torch.float64), persistent=False)
        self.add_state("within", default=torch.zeros(len(tolerances), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("total", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch: two tensors of one shape."""
        within, total = score_curve_update(preds, target, self.tolerances)
        self.within += within
        self.total += total

    def compute(self) -> Tensor:
        """Return the share at each tolerance, 0..1, shape (T,)."""
        return self.within / self.total.clamp(min=1)
