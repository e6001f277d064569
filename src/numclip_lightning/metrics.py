"""Metrics for ordered quantities that torchmetrics lacks: each a pair of functions and a small `Metric`.

Every metric here is defined in every case: when a level is absent, when all predictions are equal, after updates with
no samples, and where there is a single level. Shares and correlations of nothing are 0.0.
"""

import math

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from numclip_lightning.errors import ConfigError

__all__ = ["AccuracyWithin", "CumulativeScore", "QuadraticKappa", "Spearman", "level_metrics", "value_metrics"]


def value_metrics(tolerance: float) -> MetricCollection:
    """Return the metrics of a value: `mae`, `spearman`, and the cumulative score at a tolerance.

    Args:
        tolerance: What the cumulative score allows, in the target's unit. It names the key: `cs5` for 5, and
            `cs0_5` for 0.5, since the names of modules can't hold a dot.

    Returns:
        Takes values and targets of shape (B,). Without any sample `mae` is NaN: an error of 0 would pass for the best.

    Raises:
        ConfigError: If `tolerance` is negative or not finite.
    """
    score = f"cs{tolerance:g}".replace(".", "_")
    return _collection({"mae": MeanAbsoluteError(), score: CumulativeScore(tolerance), "spearman": Spearman()})


def level_metrics(num_levels: int) -> MetricCollection:
    """Return the metrics of a level: `acc`, `acc_within_1` and `qwk`.

    Args:
        num_levels: K, at least 1.

    Returns:
        Takes predicted and true levels, int64 of shape (B,), B at least 1: torchmetrics' accuracy can't take less.

    Raises:
        ConfigError: If `num_levels` is less than 1.
    """
    kappa = QuadraticKappa(num_levels)
    # torchmetrics knows no single class; over all samples the number makes no difference. Its own check of the
    # arguments would wait for the device at each update.
    accuracy = MulticlassAccuracy(max(num_levels, 2), average="micro", validate_args=False)
    return _collection({"acc": accuracy, "acc_within_1": AccuracyWithin(1), "qwk": kappa})


def _collection(metrics: dict[str, Metric]) -> MetricCollection:
    # Without groups: torchmetrics merges metrics whose states are equal after the first batch, which those of two
    # metrics may be by chance.
    return MetricCollection(dict(metrics), compute_groups=False)


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
    _check_shapes(preds, target)
    return ((preds - target).abs() <= tolerance).sum(), target.numel()


def share_within_compute(within: Tensor, total: Tensor) -> Tensor:
    """Return the share `within / total`, a scalar in 0..1; 0.0 of nothing."""
    return within / total.clamp(min=1)


class _ShareWithin(Metric):
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


class CumulativeScore(_ShareWithin):
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


class AccuracyWithin(_ShareWithin):
    """The share of samples whose predicted level lies at most `distance` levels from the true one.

    Args:
        distance: In levels, 0 (plain accuracy) or more.

    Raises:
        ConfigError: If `distance` is negative.
    """

    def __init__(self, distance: int = 1) -> None:
        if distance < 0:
            raise ConfigError(f"distance is {distance}; give a number of levels, 0 or more.")
        super().__init__(distance)


def quadratic_kappa_update(preds: Tensor, target: Tensor, num_levels: int) -> Tensor:
    """Count how often each level was predicted for each true level.

    Args:
        preds: Predicted levels, int64 of any one shape.
        target: True levels, int64 of the same shape.
        num_levels: K.

    Returns:
        The confusion matrix, int64 of shape (K, K); the row is the true level.

    Raises:
        ConfigError: If the shapes differ or a level lies outside 0..K-1.
    """
    _check_shapes(preds, target)
    for name, level in (("preds", preds), ("target", target)):
        outside = (level < 0) | (level >= num_levels)
        if outside.any():
            raise ConfigError(
                f"{name} holds the level {int(level[outside][0])}; a scale of {num_levels} levels has 0 to "
                f"{num_levels - 1}."
            )
    pair = (target * num_levels + preds).flatten()
    return torch.bincount(pair, minlength=num_levels**2).reshape(num_levels, num_levels)


def quadratic_kappa_compute(confusion: Tensor) -> Tensor:
    """Return Cohen's kappa with quadratic weights.

    One minus the mean squared distance of predicted and true levels, over what it would be were they independent.

    Args:
        confusion: int64 of shape (K, K).

    Returns:
        A scalar, at most 1. 0.0 without samples, and 1.0 where prediction and truth are one and the same level
        throughout, where the definition says 0/0.
    """
    levels = torch.arange(len(confusion), device=confusion.device)
    squared = (levels[:, None] - levels) ** 2
    # Integers throughout: exact, and the same on every device and under autocast.
    observed = (squared * confusion).sum() * confusion.sum()
    expected = (squared * confusion.sum(dim=1, keepdim=True) * confusion.sum(dim=0)).sum()
    perfect = (observed == 0) & (confusion.sum() > 0)
    return torch.where(expected > 0, 1 - observed / expected.clamp(min=1), perfect.float())


class QuadraticKappa(Metric):
    """Cohen's kappa with quadratic weights over levels; see `quadratic_kappa_compute` for the limiting cases.

    Args:
        num_levels: K, at least 1.

    Raises:
        ConfigError: If `num_levels` is less than 1.
    """

    higher_is_better = True
    full_state_update = False

    confusion: Tensor

    def __init__(self, num_levels: int) -> None:
        if num_levels < 1:
            raise ConfigError(f"num_levels is {num_levels}; a scale has at least 1 level.")
        super().__init__()
        self.num_levels = num_levels
        shape = (num_levels, num_levels)
        self.add_state("confusion", default=torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch of predicted and true levels, int64 of one shape."""
        self.confusion += quadratic_kappa_update(preds, target, self.num_levels)

    def compute(self) -> Tensor:
        """Return kappa, at most 1."""
        return quadratic_kappa_compute(self.confusion)


def spearman_update(preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Check a batch and return it as two float32 tensors of shape (B,).

    Args:
        preds: Values, any one shape.
        target: True values, of the same shape.

    Raises:
        ConfigError: If the shapes differ.
    """
    _check_shapes(preds, target)
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


def _check_shapes(preds: Tensor, target: Tensor) -> None:
    if preds.shape != target.shape:
        raise ConfigError(
            f"preds have shape {tuple(preds.shape)} and target has shape {tuple(target.shape)}; give one "
            "prediction for each target, in one shape."
        )
