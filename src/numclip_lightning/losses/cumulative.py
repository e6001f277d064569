"""Distances between cumulative distributions over the values of a scale: the CRPS, the earth mover's distance."""

from torch import Tensor

from numclip_lightning.losses.checks import check_over_values

__all__ = ["crps_loss", "earth_mover_loss"]


def crps_loss(logits: Tensor, target: Tensor, values: Tensor) -> Tensor:
    """Continuous ranked probability score: `integral (F(x) - [x >= y])^2 dx`, with F the distribution over the values.

    A proper score in the target's unit, which is the absolute error if the distribution is a single value. F is a step
    function; a target between two values divides their interval.

    Source: Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", JASA 2007, equation 20.

    Args:
        logits: Over the values, shape (B, R), any floating dtype.
        target: True numbers, (B,), not outside the values.
        values: The number of each value of the scale, increasing, (R,).

    Returns:
        The mean over the images, a scalar in the target's unit; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If the logits are not (B, R).

    Example:
        >>> import torch
        >>> crps_loss(torch.tensor([[0.0, 0.0, -100.0]]), torch.tensor([1.0]), torch.tensor([0.0, 1.0, 2.0]))
        tensor(0.2500)
    """
    z = check_over_values(logits, target, values)
    v = values.to(z.dtype)
    gap, reached = v.diff(), z.softmax(dim=1).cumsum(dim=1)[:, :-1]
    below = ((target[:, None].to(z.dtype) - v[:-1]) / gap).clamp(0, 1)
    # `b F^2 + (1 - b) (1 - F)^2`, as a square and what has no gradient: half of the steps.
    above = 1 - below
    return (gap * ((reached - above).square() + below * above)).sum(dim=1).mean()


def earth_mover_loss(logits: Tensor, target: Tensor, values: Tensor) -> Tensor:
    """Earth mover's distance to the target: `integral |F(x) - [x >= y]| dx = E|X - y|`, the expected absolute error.

    Source: Hou, Yu and Samaras, "Squared Earth Mover's Distance-based Loss", 2016 (arXiv 1611.05916), equation 2, for
    one true number.

    Args:
        logits: Over the values, shape (B, R), any floating dtype.
        target: True numbers, (B,), not outside the values.
        values: The number of each value of the scale, increasing, (R,).

    Returns:
        The mean over the images, a scalar in the target's unit; float32, or float64 for float64 logits.

    Raises:
        ConfigError: If the logits are not (B, R).

    Example:
        >>> import torch
        >>> earth_mover_loss(torch.tensor([[0.0, 0.0, -100.0]]), torch.tensor([1.0]), torch.tensor([0.0, 1.0, 2.0]))
        tensor(0.5000)
    """
    z = check_over_values(logits, target, values)
    distance = (target[:, None].to(z.dtype) - values.to(z.dtype)).abs()
    return (z.softmax(dim=1) * distance).sum(dim=1).mean()
