"""Checks of what metrics are given: levels on their scale, and probabilities over its levels."""

import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError

__all__ = ["check_levels", "check_num_levels", "check_probabilities"]

# Probabilities in half precision miss a sum of 1 by up to 0.004; logits miss it by far more than this.
_SUM_TOLERANCE = 0.01


def check_num_levels(num_levels: int) -> None:
    """Raise ConfigError where a scale would have no level."""
    if num_levels < 1:
        raise ConfigError(f"num_levels is {num_levels}; a scale has at least 1 level.")


def check_levels(name: str, level: Tensor, num_levels: int) -> None:
    """Raise ConfigError where a level is not a whole number of 0..K-1.

    Values are looked at on the CPU only: on another device that would cost a wait at every update, and a level outside
    the scale is a device assert there.

    Args:
        name: What the message calls them.
        level: Levels of any shape.
        num_levels: K.
    """
    if level.is_floating_point() or level.is_complex() or level.dtype == torch.bool:
        raise ConfigError(f"{name} has the dtype {level.dtype}; give levels as whole numbers (int64), 0 for the first.")
    if level.device.type == "cpu":
        outside = level[(level < 0) | (level >= num_levels)]
        if len(outside):
            raise ConfigError(
                f"{name} has the level {int(outside[0])}; a scale of {num_levels} levels has 0 to {num_levels - 1}."
            )


def check_probabilities(probabilities: Tensor, num_levels: int, rows: Tensor) -> None:
    """Raise ConfigError where probabilities are not a distribution over K levels for each row.

    As in `check_levels`, values are looked at on the CPU only. NaN passes: the metric becomes NaN, as it should.

    Args:
        probabilities: What should have the shape (B, K), each row with a sum of 1.
        num_levels: K.
        rows: The true levels or values, which should have the shape (B,).
    """
    if rows.ndim != 1 or probabilities.shape != (len(rows), num_levels):
        raise ConfigError(
            f"probabilities have the shape {tuple(probabilities.shape)} and target has the shape {tuple(rows.shape)}; "
            f"give a row of {num_levels} probabilities for each of B targets, (B, {num_levels}) and (B,)."
        )
    if not probabilities.is_floating_point():
        raise ConfigError(f"probabilities have the dtype {probabilities.dtype}; give floating-point numbers of 0 to 1.")
    if probabilities.device.type == "cpu":
        sums = probabilities.detach().float().sum(dim=1)
        wrong = ((sums - 1).abs() > _SUM_TOLERANCE) | (probabilities < 0).any(dim=1)
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise ConfigError(
                f"row {row} of the probabilities has the sum {sums[row]:.4g} and the least entry "
                f"{probabilities[row].min():.4g}; each row must be of 0 or more and have the sum 1: take the softmax."
            )
