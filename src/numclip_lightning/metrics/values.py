"""Metrics of predicted values: cumulative score, epsilon-error, Spearman's correlation."""

import math

import torch
from torch import Tensor
from torchmetrics import Metric

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics.shares import ShareWithin, check_shapes

__all__ = [
    "CumulativeScore",
    "EpsilonError",
    "Spearman",
    "epsilon_error_update",
    "spearman_compute",
    "spearman_update",
]


class CumulativeScore(ShareWithin):
    """CS@k, the share of samples whose value lies within k of the target.

    Args:
        tolerance: k in the target's unit, 0 or more.

    Raises:
        ConfigError: If `tolerance` is negative or not finite.
    """

    def __init__(self, tolerance: float) -> None:
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise ConfigError(f"tolerance is {tolerance}; give a distance of 0 or more in the target's unit.")
        super().__init__(tolerance)


def epsilon_error_update(preds: Tensor, target: Tensor, spread: Tensor) -> Tensor:
    """Sum `1 - exp(-(preds - target)^2 / (2 spread^2))`, how far each value lies outside of what people guessed.

    Args:
        preds: Values, any one shape.
        target: The means of the guesses, of the same shape.
        spread: Their standard deviations, above 0, of the same shape.

    Returns:
        A scalar, float32.

    Raises:
        ConfigError: If the shapes differ.
    """
    check_shapes(preds, target)
    check_shapes(spread, target)
    distance = (preds.detach().float() - target.float()) / spread.float()
    return -torch.expm1(-(distance**2) / 2).sum()


class EpsilonError(Metric):
    """The epsilon-error of the ChaLearn LAP 2015 challenge on apparent age (Escalera et al., 2015).

    `1 - mean(exp(-(p - t)^2 / (2 s^2)))`: 0 for perfect values, near 1 for values that nobody guessed; 0.0 of nothing.
    """

    higher_is_better = False
    full_state_update = False

    error: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("error", default=torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("total", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, spread: Tensor) -> None:
        """Add a batch: three tensors of one shape."""
        self.error += epsilon_error_update(preds, target, spread)
        self.total += target.numel()

    def compute(self) -> Tensor:
        """Return the error, 0..1."""
        return self.error / self.total.clamp(min=1)


def spearman_update(preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Check a batch and return it as two float32 tensors of shape (B,).

    Args:
        preds: Values, any one shape.
        target: True values, of the same shape.

    Raises:
        ConfigError: If the shapes differ.
    """
    check_shapes(preds, target)
    return preds.detach().flatten().float(), target.detach().flatten().float()


def spearman_compute(preds: Tensor, target: Tensor) -> Tensor:
    """Return Spearman's rank correlation, equal values sharing their mean rank.

    Args:
        preds: Values, shape (N,).
        target: True values, shape (N,).

    Returns:
        A scalar in -1..1; 0.0 where either is constant, which includes N < 2.
    """
    x, y = _centred_ranks(preds), _centred_ranks(target)
    spread = ((x * x).sum() * (y * y).sum()).sqrt()
    # The smallest spread of ranks that differ is far above this, and a constant has the covariance 0.
    return ((x * y).sum() / spread.clamp(min=torch.finfo(x.dtype).tiny)).clamp(-1, 1)


def _centred_ranks(values: Tensor) -> Tensor:
    """Return ranks with mean 0, ties sharing theirs, scaled into -1..1."""
    _, place, count = torch.unique(values, return_inverse=True, return_counts=True)
    # A value's last rank is the running count; twice its mean rank, less twice the mean of all ranks, is this integer.
    centred = 2 * count.cumsum(0) - count - len(values)
    ranks: Tensor = (centred / max(len(values), 1))[place]
    return ranks


class Spearman(Metric):
    """Spearman's rank correlation of values and targets.

    It keeps all samples, as ranks need them. torchmetrics' own adds 1e-6 to the denominator, which shows on few
    samples, and warns whenever it is built.
    """

    higher_is_better = True
    full_state_update = False

    preds: list[Tensor]
    target: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("preds", default=[], dist_reduce_fx="cat")
        self.add_state("target", default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch: two tensors of one shape."""
        preds, target = spearman_update(preds, target)
        self.preds.append(preds)
        self.target.append(target)

    def compute(self) -> Tensor:
        """Return the correlation, -1..1."""
        return spearman_compute(self._joined(self.preds), self._joined(self.target))

    def _joined(self, state: list[Tensor] | Tensor) -> Tensor:
        # After a synchronisation torchmetrics leaves one tensor where the list was.
        return state if isinstance(state, Tensor) else torch.cat([torch.empty(0, device=self.device), *state])
