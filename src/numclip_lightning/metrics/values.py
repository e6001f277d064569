"""Metrics of predicted values: cumulative score, epsilon-error, Spearman's correlation."""

import math

import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics.kept import KeptSamples
from numclip_lightning.metrics.shares import SampleMean, ShareWithin, check_shapes

__all__ = [
    "CumulativeScore",
    "EpsilonError",
    "Spearman",
    "epsilon_error",
    "spearman_compute",
    "spearman_update",
]


class CumulativeScore(ShareWithin):
    """Cumulative score CS@k: the share of samples whose value is within k of the target.

    Args:
        tolerance: k in the target's unit, 0 or more.

    Raises:
        ConfigError: If `tolerance` is negative or not finite.

    Example:
        >>> score = CumulativeScore(5)
        >>> score(torch.tensor([25.0, 31.0]), torch.tensor([30.0, 37.0]))
        tensor(0.5000)
    """

    def __init__(self, tolerance: float) -> None:
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise ConfigError(f"tolerance is {tolerance}; give a distance of 0 or more in the target's unit.")
        super().__init__(tolerance)


def epsilon_error(preds: Tensor, target: Tensor, spread: Tensor) -> Tensor:
    """Return `1 - exp(-(preds - target)^2 / (2 spread^2))` for each sample: how far a value is from people's guesses.

    Args:
        preds: Values, any one shape.
        target: The means of the guesses, of the same shape.
        spread: Their standard deviations, 0 or more, of the same shape. At 0 (all guesses agree) it is the limit: 0 for
            the value itself, 1 for any other.

    Returns:
        float32 of the same shape, 0..1.

    Raises:
        ConfigError: If the shapes differ.

    Example:
        >>> epsilon_error(torch.tensor([30.0, 34.0]), torch.tensor([30.0, 30.0]), torch.tensor([4.0, 4.0]))
        tensor([0.0000, 0.3935])
    """
    check_shapes(preds, target)
    check_shapes(spread, target)
    difference = preds.detach().float() - target.float()
    # Without the 0 / 0 of a value that is right where all guesses agree.
    distance = torch.where(difference == 0, difference, difference / spread.float())
    return -torch.expm1(-(distance**2) / 2)


class EpsilonError(SampleMean):
    """Epsilon-error of the ChaLearn LAP 2015 challenge on apparent age (Escalera et al., 2015).

    `1 - mean(exp(-(p - t)^2 / (2 s^2)))`: 0 for perfect values, near 1 for values far from every guess; 0.0 without
    samples.
    """

    higher_is_better = False

    def update(self, preds: Tensor, target: Tensor, spread: Tensor) -> None:  # type: ignore[override]
        """Add a batch: three tensors of one shape. Samples whose spread is unknown (NaN) are left out."""
        error = epsilon_error(preds, target, spread)
        super().update(error[~spread.isnan()])


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
    """Spearman's rank correlation; equal values share their mean rank.

    Args:
        preds: Values, shape (N,).
        target: True values, shape (N,).

    Returns:
        A scalar in -1..1; 0.0 if either is constant, which includes N < 2.

    Example:
        >>> spearman_compute(torch.tensor([1.0, 2.0, 30.0]), torch.tensor([4.0, 5.0, 6.0]))
        tensor(1.)
    """
    x, y = _centred_ranks(preds), _centred_ranks(target)
    spread = ((x * x).sum() * (y * y).sum()).sqrt()
    # The smallest spread of different ranks is far above this bound, and a constant has the covariance 0.
    return ((x * y).sum() / spread.clamp(min=torch.finfo(x.dtype).tiny)).clamp(-1, 1)


def _centred_ranks(values: Tensor) -> Tensor:
    """Return ranks with mean 0, scaled into -1..1; ties share theirs."""
    _, place, count = torch.unique(values, return_inverse=True, return_counts=True)
    # A value's last rank is the running count; twice its mean rank, less twice the mean of all ranks, is this integer.
    centred = 2 * count.cumsum(0) - count - len(values)
    ranks: Tensor = (centred / max(len(values), 1))[place]
    return ranks


class Spearman(KeptSamples):
    """Spearman's rank correlation of values and targets.

    It keeps all samples, because ranks need them. Not torchmetrics' own, which adds 1e-6 to the denominator, visible
    with few samples, and warns at each construction.
    """

    higher_is_better = True

    def __init__(self) -> None:
        super().__init__("preds", "target", dtype=torch.float32)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch: two tensors of one shape."""
        self.keep(*spearman_update(preds, target))

    def compute(self) -> Tensor:
        """Return the correlation, -1..1."""
        return spearman_compute(*self.kept())
