"""Targets that are distributions: the votes of several raters, or their mean and spread, over the values of a scale.

A vote between two values of the scale is divided among both, the nearer one getting more, so that the mean of the votes
is kept; a vote beyond the ends counts as the end.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from numclip_lightning.losses.checks import check_over_values

__all__ = [
    "distribution_crps",
    "distribution_earth_mover",
    "normal_over_values",
    "soft_vote_loss",
    "votes_over_values",
]

# Rows of labels at a time.
_VALUES = 1024


def votes_over_values(votes: Tensor, scores: Tensor, values: Tensor) -> Tensor:
    """Return the distribution of votes over the values of a scale.

    Args:
        votes: The share of each score, (B, S), which add up to 1.
        scores: The scores, (B, S), in the target's unit.
        values: The number of each value, increasing, (R,).

    Returns:
        float64 (B, R); a row adds up to 1.

    Example:
        >>> votes, scores = torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 2.5]])
        >>> votes_over_values(votes, scores, torch.tensor([1.0, 2.0, 3.0]))
        tensor([[0.5000, 0.2500, 0.2500]], dtype=torch.float64)
    """
    v, y = values.double(), scores.double().clamp(float(values[0]), float(values[-1]))
    if len(v) == 1:
        return votes.double().sum(dim=1, keepdim=True)
    below = (torch.searchsorted(v, y.contiguous(), right=True) - 1).clamp(0, len(v) - 2)
    upper = (y - v[below]) / (v[below + 1] - v[below])
    found = torch.zeros(len(votes), len(v), dtype=torch.float64, device=votes.device)
    found.scatter_add_(1, below, votes.double() * (1 - upper))
    return found.scatter_add_(1, below + 1, votes.double() * upper)


def normal_over_values(mean: Tensor, spread: Tensor, values: Tensor) -> Tensor:
    """Return a normal distribution over the values of a scale; with no spread, a single vote.

    Every vote of the distribution is divided as in `votes_over_values`: the share below an interval of two values is
    the mean of the distribution function in it.

    Args:
        mean: The mean of the votes, (B,), in the target's unit.
        spread: Their standard deviation, (B,), 0 or more; NaN counts as 0.
        values: The number of each value, increasing, (R,).

    Returns:
        float64 (B, R); a row adds up to 1.

    Example:
        >>> values = torch.tensor([0.0, 1.0, 2.0])
        >>> normal_over_values(torch.tensor([1.0, 0.25]), torch.tensor([1.0, 0.0]), values)
        tensor([[0.3156, 0.3687, 0.3156],
                [0.7500, 0.2500, 0.0000]], dtype=torch.float64)
    """
    v, sigma = values.double(), spread.double().nan_to_num(0.0)[:, None]
    away = v - mean.double()[:, None]
    z = away / sigma.clamp(min=torch.finfo(torch.float64).tiny)
    # The integral of the distribution function up to each value.
    integral = away * torch.special.ndtr(z) + sigma * (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
    integral = torch.where(sigma > 0, integral, away.clamp(min=0))
    reached = functional.pad(integral.diff(dim=1) / v.diff(), (0, 1), value=1.0)
    return reached.diff(dim=1, prepend=torch.zeros_like(reached[:, :1]))


def soft_vote_loss(logits: Tensor, target: Tensor, values: Tensor, width: Tensor | float) -> Tensor:
    """Mean over the votes of `soft_label_loss`: cross-entropy with the mean of the labels that each vote has.

    Args:
        logits: Over the values, shape (B, R), any floating dtype.
        target: The share of each value, (B, R).
        values: The number of each value of the scale, increasing, (R,).
        width: Standard deviation of the labels of a vote in the target's unit, greater than 0.

    Returns:
        The mean over the images, a scalar; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If the logits are not (B, R).
    """
    z, v = check_over_values(logits, target, values), values.to(logits.device)
    # Some votes at a time: a table of ten thousand values would take gigabytes.
    mean = [
        shares @ (-((part[:, None] - v) / width).square() / 2).softmax(dim=1).to(z.dtype)
        for part, shares in zip(torch.split(v, _VALUES), torch.split(target.to(z.dtype), _VALUES, dim=1), strict=True)
    ]
    return functional.cross_entropy(z, torch.stack(mean).sum(dim=0))


def distribution_crps(logits: Tensor, target: Tensor, values: Tensor) -> Tensor:
    """Squared distance of two cumulative distributions over the values: `integral (F(x) - G(x))^2 dx`.

    For a single vote on a value it is `crps_loss`; otherwise it is the mean of `crps_loss` over the votes, less what no
    prediction could change.

    Source: Gneiting and Raftery, JASA 2007, section 5.1 (the divergence of the CRPS); Hou, Yu and Samaras, 2016 (arXiv
    1611.05916), for scores at equal distances.

    Args:
        logits: Over the values, shape (B, R), any floating dtype.
        target: The share of each value, (B, R).
        values: The number of each value of the scale, increasing, (R,).

    Returns:
        The mean over the images, a scalar in the target's unit; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If the logits are not (B, R).
    """
    gap, distance = _cumulative(logits, target, values)
    return (gap * distance.square()).sum(dim=1).mean()


def distribution_earth_mover(logits: Tensor, target: Tensor, values: Tensor) -> Tensor:
    """Earth mover's distance of two distributions over the values: `integral |F(x) - G(x)| dx`.

    Source: Hou, Yu and Samaras, "Squared Earth Mover's Distance-based Loss", 2016 (arXiv 1611.05916), equation 2;
    Talebi and Milanfar, "NIMA: Neural Image Assessment", 2018, with r = 1.

    Args:
        logits: Over the values, shape (B, R), any floating dtype.
        target: The share of each value, (B, R).
        values: The number of each value of the scale, increasing, (R,).

    Returns:
        The mean over the images, a scalar in the target's unit; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If the logits are not (B, R).
    """
    gap, distance = _cumulative(logits, target, values)
    return (gap * distance.abs()).sum(dim=1).mean()


def _cumulative(logits: Tensor, target: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the width of each interval, (R - 1,), and the distance of both cumulative distributions in it."""
    z = check_over_values(logits, target, values)
    predicted, wanted = (share.cumsum(dim=1)[:, :-1] for share in (z.softmax(dim=1), target.to(z.dtype)))
    return values.to(z.dtype).diff(), predicted - wanted
