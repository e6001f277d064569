"""Heads without parameters: from the logits over classes to a number in the target's unit.

All heads compute in float32 (float64 for float64 logits), under autocast too. With the precision `bf16-true` the
numbers of the levels themselves are rounded, years to multiples of 8: use `bf16-mixed`.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.precision import at_least_float32

__all__ = [
    "ArgmaxHead",
    "Decode",
    "Decoder",
    "Edges",
    "ExpectationHead",
    "MedianHead",
    "build_decoder",
    "check_logits",
    "expected_value",
    "increasing_edges",
]

Decode = Literal["expectation", "argmax", "median"]

Edges = Tensor | Sequence[float]


class _FixedHead(nn.Module):
    """Base of the heads without parameters: the number of each class, as a buffer.

    Args:
        centers: The number of each class in the target's unit, increasing, shape (K,).
        saved: Whether checkpoints contain the centres, because they come from data and not from the arguments.
        logarithmic: Whether the centres are natural logarithms, as on the axis of a logarithmic scale: the value is
            read among them, and is the exponential of what is read.
    """

    centers: Tensor

    def __init__(self, centers: Edges, *, saved: bool = False, logarithmic: bool = False) -> None:
        super().__init__()
        self.logarithmic = logarithmic
        self.register_buffer("centers", increasing_edges("centers", centers), persistent=saved)

    def forward(self, logits: Tensor) -> Tensor:
        """Return the value of each image: logits (B, K) -> (B,); NaN where a logit is NaN."""
        place = self.place(check_logits(logits, self.centers))
        return place.exp() if self.logarithmic else place

    def place(self, logits: Tensor) -> Tensor:
        """Return what is read among the centres: logits (B, K) in float32 at least -> (B,)."""
        raise NotImplementedError


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

    def place(self, logits: Tensor) -> Tensor:
        """Return the expected centre of each image: logits (B, K) -> (B,)."""
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

    def place(self, logits: Tensor) -> Tensor:
        """Return the most probable centre of each image: logits (B, K) -> (B,)."""
        return _where_known(self.centers[logits.argmax(dim=1)], logits)


class MedianHead(_FixedHead):
    """Median of the distribution over the classes; nothing is learned.

    The mean absolute error is least at the median of a distribution, the squared error at its mean. A class of a single
    number has all its probability there. The probability of a level is spread evenly from its first to its last
    number, so that numbers between are reached: `value = lower_k + (upper_k - lower_k) (1/2 - F_{k-1}) / p_k`, with k
    the first class at which the summed probability F_k reaches 1/2.

    Args:
        centers: The middle of each class in the target's unit, increasing, shape (K,).
        lower: The first number of each class, shape (K,); None takes the centres.
        upper: The last number of each class, shape (K,); None takes the centres.
        saved: Whether checkpoints contain the centres.
        logarithmic: Whether all of these are natural logarithms; probability is spread evenly over them.

    Raises:
        ConfigError: If a list is not of increasing, finite numbers.

    Example:
        >>> head = MedianHead([6.0, 15.5, 41.5], lower=[0.0, 13.0, 19.0], upper=[12.0, 18.0, 64.0])
        >>> head(torch.tensor([[0.0, -100.0, 0.0], [-100.0, 0.0, -100.0]]))
        tensor([12.0000, 15.5000])
    """

    lower: Tensor
    upper: Tensor

    def __init__(
        self,
        centers: Edges,
        *,
        lower: Edges | None = None,
        upper: Edges | None = None,
        saved: bool = False,
        logarithmic: bool = False,
    ) -> None:
        super().__init__(centers, saved=saved, logarithmic=logarithmic)
        self.wide = lower is not None and upper is not None
        if lower is not None and upper is not None:
            self.register_buffer("lower", increasing_edges("lower", lower), persistent=False)
            self.register_buffer("upper", increasing_edges("upper", upper), persistent=False)

    def place(self, logits: Tensor) -> Tensor:
        """Return the median of each image's distribution: logits (B, K) -> (B,)."""
        z, chances = logits, logits.softmax(dim=1)
        reached = chances.cumsum(dim=1)
        k = (reached < 0.5).sum(dim=1, keepdim=True)
        if not self.wide:
            return _where_known(self.centers[k[:, 0]], logits)
        own = chances.gather(1, k)
        share = 1 - (reached.gather(1, k) - 0.5) / own
        lower, upper = self.lower.to(z.dtype)[k], self.upper.to(z.dtype)[k]
        return (lower + (upper - lower) * share.clamp(0, 1)).squeeze(1)


def _where_known(place: Tensor, logits: Tensor) -> Tensor:
    """Return places (B,), NaN where a logit is NaN: what is counted would be the first class there."""
    return place.masked_fill(logits.isnan().any(dim=1), torch.nan)


Decoder: TypeAlias = ExpectationHead | ArgmaxHead | MedianHead


def build_decoder(
    decode: Decode,
    centers: Edges,
    *,
    lower: Edges | None = None,
    upper: Edges | None = None,
    saved: bool = False,
    logarithmic: bool = False,
) -> Decoder:
    """Build a head without parameters by name.

    Args:
        decode: `"expectation"` (`ExpectationHead`), `"argmax"` (`ArgmaxHead`) or `"median"` (`MedianHead`).
        centers: The number of each class in the target's unit, shape (K,).
        lower: The first number of each class, which the median reads; None if a class is a single number.
        upper: The last number of each class.
        saved: Whether checkpoints contain the centres, because they come from data and not from the arguments.
        logarithmic: Whether the numbers are given as natural logarithms, among which the value is read.

    Raises:
        ConfigError: If `decode` is unknown or the centres contradict each other.

    Example:
        >>> build_decoder("argmax", [1930.0, 1940.0])(torch.tensor([[0.2, 0.3]]))
        tensor([1940.])
    """
    check_choice("decode", decode, get_args(Decode))
    if decode == "median":
        return MedianHead(centers, lower=lower, upper=upper, saved=saved, logarithmic=logarithmic)
    return (ExpectationHead if decode == "expectation" else ArgmaxHead)(centers, saved=saved, logarithmic=logarithmic)


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
