"""Proper scores of predicted distributions: RPS, negative log-likelihood and Brier over levels, CRPS of a value.

All are means over images, in float64 while they are summed, and NaN of nothing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics.checks import check_levels, check_num_levels, check_probabilities
from numclip_lightning.metrics.means import ScoreMean

__all__ = ["CRPS", "NLL", "RPS", "Brier", "brier", "crps", "nll", "rps"]


def rps(probabilities: Tensor, level: Tensor) -> Tensor:
    """Return the ranked probability score of each image: `sum_k (F_k - 1[y <= k])^2`, F the cumulative probabilities.

    A wrong level costs more, the further off it is: a sure prediction d levels off scores d. It is not divided by
    K - 1, as in dlordinal. Source: Epstein, "A scoring system for probability forecasts of ranked categories", 1969.

    Args:
        probabilities: Shape (B, K), each row with a sum of 1.
        level: True levels, int64 of shape (B,), 0..K-1.

    Returns:
        float64 of shape (B,), 0..K-1.

    Raises:
        ConfigError: If shapes or dtypes don't fit, or (on the CPU) a row is no distribution or a level is outside.

    Example:
        >>> rps(torch.tensor([[0.0, 0.0, 1.0], [0.5, 0.5, 0.0]]), torch.tensor([0, 0]))
        tensor([2.0000, 0.2500], dtype=torch.float64)
    """
    steps = torch.arange(probabilities.shape[-1], device=level.device)
    distribution = _checked(probabilities, level)
    return ((distribution.cumsum(dim=1) - (level[:, None] <= steps).double()) ** 2).sum(dim=1)


def nll(probabilities: Tensor, level: Tensor) -> Tensor:
    """Return the negative log-likelihood of each image's true level, `-log p_y`, in nats.

    As in scikit-learn's `log_loss`, probabilities are at least the epsilon of their dtype (of float32, where they come
    in half precision), so that one sure miss costs 15.9 and not infinity.

    Args:
        probabilities: Shape (B, K), each row with a sum of 1.
        level: True levels, int64 of shape (B,), 0..K-1.

    Returns:
        float64 of shape (B,), 0 or more.

    Raises:
        ConfigError: As of `rps`.

    Example:
        >>> nll(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([0, 1]))
        tensor([ 0.6931, 15.9424], dtype=torch.float64)
    """
    epsilon = min(torch.finfo(probabilities.dtype).eps if probabilities.is_floating_point() else 1.0, _FLOAT32_EPSILON)
    chosen = _checked(probabilities, level).gather(1, level[:, None].long()).squeeze(1)
    return -chosen.clamp(epsilon, 1).log()


_FLOAT32_EPSILON = torch.finfo(torch.float32).eps


def brier(probabilities: Tensor, level: Tensor) -> Tensor:
    """Return the Brier score of each image over all levels: `sum_k (p_k - 1[k = y])^2`.

    Source: Brier, "Verification of forecasts expressed in terms of probability", 1950. It is not halved.

    Args:
        probabilities: Shape (B, K), each row with a sum of 1.
        level: True levels, int64 of shape (B,), 0..K-1.

    Returns:
        float64 of shape (B,), 0..2.

    Raises:
        ConfigError: As of `rps`.

    Example:
        >>> brier(torch.tensor([[0.0, 0.0, 1.0], [0.5, 0.5, 0.0]]), torch.tensor([0, 0]))
        tensor([2.0000, 0.5000], dtype=torch.float64)
    """
    steps = torch.arange(probabilities.shape[-1], device=level.device)
    return ((_checked(probabilities, level) - (level[:, None] == steps).double()) ** 2).sum(dim=1)


def crps(probabilities: Tensor, target: Tensor, centers: Tensor) -> Tensor:
    """Return the continuous ranked probability score of each image: `integral (F(x) - 1[x >= y])^2 dx`.

    F is the distribution that has the probability p_k at the number c_k. The integral is then
    `sum_k p_k |c_k - y| - sum_k (c_{k+1} - c_k) F_k (1 - F_k)`, exact for any spacing of the numbers, and for targets
    between them and outside. Of a sure prediction it is the absolute error, so that its mean compares with the MAE.
    Source: Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", 2007, equation 21.

    Args:
        probabilities: Shape (B, K), each row with a sum of 1.
        target: True values, shape (B,), in the unit of the centres.
        centers: The number that each probability belongs to, shape (K,), in increasing order.

    Returns:
        float64 of shape (B,), 0 or more, in the target's unit.

    Raises:
        ConfigError: If shapes or dtypes don't fit, or (on the CPU) a row is no distribution or centres don't increase.

    Example:
        >>> crps(torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([15.0, 15.0]), torch.tensor([10.0, 30.0]))
        tensor([15.,  5.], dtype=torch.float64)
    """
    _check_centers(centers)
    check_probabilities(probabilities, len(centers), target)
    at, p = centers.double(), probabilities.detach().double()
    cumulative = p.cumsum(dim=1)[:, :-1]
    distance = (p * (at - target.double()[:, None]).abs()).sum(dim=1)
    return distance - (at.diff() * cumulative * (1 - cumulative)).sum(dim=1)


def _checked(probabilities: Tensor, level: Tensor) -> Tensor:
    num_levels = probabilities.shape[-1] if probabilities.ndim == 2 else 0
    check_probabilities(probabilities, num_levels, level)
    check_levels("target", level, num_levels)
    return probabilities.detach().double()


def _check_centers(centers: Tensor) -> None:
    if centers.ndim != 1 or not len(centers):
        raise ConfigError(f"centers have the shape {tuple(centers.shape)}; give one number for each level, (K,).")
    if centers.device.type == "cpu" and not (centers.diff() > 0).all():
        raise ConfigError(f"centers are {centers.tolist()}; give numbers in increasing order.")


class _LevelScoreMean(ScoreMean):
    """The mean of a score of the probabilities of K levels."""

    higher_is_better = False

    def __init__(self, num_levels: int) -> None:
        check_num_levels(num_levels)
        super().__init__()
        self.num_levels = num_levels

    def update(self, probabilities: Tensor, target: Tensor) -> None:
        """Add a batch: probabilities of shape (B, K), and true levels (for the CRPS, values) of shape (B,)."""
        check_probabilities(probabilities, self.num_levels, target)
        self.add(self._scores(probabilities, target).sum(), len(target))

    def _scores(self, probabilities: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError


class RPS(_LevelScoreMean):
    """The mean ranked probability score over levels; see `rps`.

    Args:
        num_levels: K, at least 1.

    Raises:
        ConfigError: If `num_levels` is less than 1.
    """

    def _scores(self, probabilities: Tensor, target: Tensor) -> Tensor:
        return rps(probabilities, target)


class NLL(_LevelScoreMean):
    """The mean negative log-likelihood of the true level; see `nll`.

    Args:
        num_levels: K, at least 1.
    """

    def _scores(self, probabilities: Tensor, target: Tensor) -> Tensor:
        return nll(probabilities, target)


class Brier(_LevelScoreMean):
    """The mean Brier score over levels; see `brier`.

    Args:
        num_levels: K, at least 1.
    """

    def _scores(self, probabilities: Tensor, target: Tensor) -> Tensor:
        return brier(probabilities, target)


class CRPS(_LevelScoreMean):
    """The mean continuous ranked probability score of a value, in the target's unit; see `crps`.

    Args:
        centers: The number of each probability, K of them in increasing order: `OrdinalScale.centers` for levels,
            `OrdinalScale.values` for ranks.

    Raises:
        ConfigError: If there is none, or they don't increase.
    """

    centers: Tensor

    def __init__(self, centers: Tensor | Sequence[float]) -> None:
        numbers = torch.as_tensor(centers, dtype=torch.float64)
        _check_centers(numbers)
        super().__init__(len(numbers))
        self.register_buffer("centers", numbers, persistent=False)

    def _scores(self, probabilities: Tensor, target: Tensor) -> Tensor:
        return crps(probabilities, target, self.centers)
