"""Keeping what is sensitive out of half precision: softmax, similarities and edges of levels."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ["at_least_float32", "without_autocast"]


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return a half-precision tensor in float32 and any other as it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Switch autocast off where it is on; elsewhere leave no trace of it in an exported graph."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
