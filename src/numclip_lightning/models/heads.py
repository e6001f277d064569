"""Heads without parameters: from the logits over classes to a number in the target's unit.

All heads compute in float32 (float64 for float64 logits), under autocast too. With the precision `bf16-true` the
numbers of the levels themselves are rounded, years to multiples of 8: use `bf16-mixed`.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.precision import at_least_float32

__all__ = [
    "ArgmaxHead",
    "Decode",
    "Edges",
    "ExpectationHead",
    "build_decoder",
    "check_logits",
    "expected_value",
    "increasing_edges",
]

Decode = Literal["expectation", "argmax"]

Edges = Tensor | Sequence[float]


class _FixedHead(nn.Module):
    """Base of the heads without parameters: the number of each class, as a buffer.

    Args:
        centers: The number of each class in the target's unit, increasing, shape (K,).
        saved: Whether checkpoints contain the centres, because they come from data and not from the arguments.
    """

    centers: Tensor

    def __init__(self, centers: Edges, *, saved: bool = False) -> None:
        super().__init__()
        self.register_buffer("centers", increasing_edges("centers", centers), persistent=saved)


class ExpectationHead(_FixedHead):
    """Expected centre: `value = sum_k softmax(z)_k * centers_k`. Nothing is learned.

    Args:
        centers: The middle of each level in the target's unit, increasing, shape (K,).

    Raises:
        ConfigError: If `centers` is not a list of increasing, finite numbers.

    Example:
        >>> head = ExpectationHead([6.0, 15.5, 26.5])
        >>> head(torch.tensor([[0.0, 0.0, -100.0]]))
        tensor([10.7500])
    """

    def forward(self, logits: Tensor) -> Tensor:
        """Return the value of each image: logits (B, K) -> (B,)."""
        return expected_value(logits, self.centers)


def expected_value(logits: Tensor, centers: Tensor) -> Tensor:
    """Return the expected centre of each image: logits (B, K) and centres (K,) -> (B,)."""
    z = check_logits(logits, centers)
    return (z.softmax(dim=1) * centers.to(z.dtype)).sum(dim=1)


class ArgmaxHead(_FixedHead):
    """Centre of the most probable class: `value = centers[argmax_k z_k]`. Nothing is learned, no gradient flows.

    Args:
        centers: The number of each class in the target's unit, increasing, shape (K,).

    Raises:
        ConfigError: If `centers` is not a list of increasing, finite numbers.
    """

    def forward(self, logits: Tensor) -> Tensor:
        """Return the value of each image: logits (B, K) -> (B,)."""
        return self.centers[check_logits(logits, self.centers).argmax(dim=1)]


def build_decoder(decode: Decode, centers: Edges, *, saved: bool = False) -> ExpectationHead | ArgmaxHead:
    """Build a head without parameters by name.

    Args:
        decode: `"expectation"` (`ExpectationHead`) or `"argmax"` (`ArgmaxHead`).
        centers: The number of each class in the target's unit, shape (K,).
        saved: Whether checkpoints contain the centres, because they come from data and not from the arguments.

    Raises:
        ConfigError: If `decode` is unknown or the centres contradict each other.

    Example:
        >>> build_decoder("argmax", [1930.0, 1940.0])(torch.tensor([[0.2, 0.3]]))
        tensor([1940.])
    """
    check_choice("decode", decode, get_args(Decode))
    return (ExpectationHead if decode == "expectation" else ArgmaxHead)(centers, saved=saved)


def increasing_edges(name: str, edges: Edges) -> Tensor:
    """Copy numbers into a floating-point tensor; raise ConfigError unless they are finite and increasing."""
    tensor = torch.as_tensor(edges).detach().clone()
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.get_default_dtype())
    if tensor.ndim != 1 or len(tensor) == 0 or not tensor.isfinite().all() or not (tensor.diff() > 0).all():
        raise ConfigError(
            f"{name} is {tensor.tolist()}; give one finite number for each level, each greater than the one before it."
        )
    return tensor


def check_logits(logits: Tensor, levels: Tensor) -> Tensor:
    """Check the shape of logits for these levels; return them in float32 at least."""
    if logits.ndim != 2 or logits.shape[1] != len(levels):
        raise ConfigError(
            f"logits have shape {tuple(logits.shape)}; this head was built for {len(levels)} levels and takes shape "
            f"(images, {len(levels)})."
        )
    return at_least_float32(logits)
