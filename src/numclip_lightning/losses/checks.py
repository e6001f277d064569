"""Checks that all losses share."""

import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.precision import at_least_float32

__all__ = ["check_logits", "check_over_values"]


def check_logits(logits: Tensor, index: Tensor, name: str, columns: str | None = None) -> Tensor:
    """Check shapes and dtypes, which needs no synchronisation; return the logits in float32 at least.

    Args:
        logits: Expected to be floating-point of shape (B, columns).
        index: Expected to be int64 of shape (B,).
        name: What the index counts, for the message: `"level"`.
        columns: What the columns are, for the message; None means `name`.

    Raises:
        ConfigError: If shapes or dtypes don't fit.
    """
    if logits.ndim != 2 or 0 in logits.shape or not logits.is_floating_point():
        raise ConfigError(
            f"logits are {logits.dtype} of shape {tuple(logits.shape)}; give floating-point logits of shape "
            f"(images, {columns or name}s), at least one of each."
        )
    if index.dtype != torch.int64 or index.shape != logits.shape[:1]:
        raise ConfigError(
            f"{name} is {index.dtype} of shape {tuple(index.shape)} for logits of shape {tuple(logits.shape)}; give "
            f"one int64 {name} for each image, shape ({len(logits)},)."
        )
    return at_least_float32(logits)


def check_over_values(logits: Tensor, target: Tensor, values: Tensor) -> Tensor:
    """Check the shapes of logits over the values of a scale; return them in float32 at least.

    Args:
        logits: Expected to be of shape (B, R).
        target: True numbers, (B,).
        values: The number of each value, (R,).

    Raises:
        ConfigError: If the shapes don't fit.
    """
    if logits.ndim != 2 or logits.shape != (len(target), len(values)):
        raise ConfigError(
            f"logits have shape {tuple(logits.shape)}; {len(target)} targets and {len(values)} values take shape "
            f"({len(target)}, {len(values)})."
        )
    return at_least_float32(logits)
