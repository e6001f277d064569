"""Heads: from the logits over the levels to a number in the target's unit.

Every head computes in float32 (float64 for float64 logits), under autocast too. With the precision `bf16-true` the
edges of the levels themselves are rounded, years to multiples of 8: use `bf16-mixed`.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.precision import at_least_float32, without_autocast

__all__ = [
    "ArgmaxHead",
    "BoundedHead",
    "Decode",
    "ExpectationHead",
    "HeadKind",
    "PublishedHead",
    "build_decoder",
    "build_head",
    "expected_value",
]

HeadKind = Literal["published", "bounded"]
Decode = Literal["expectation", "argmax"]

Edges = Tensor | Sequence[float]


class _ReadingHead(nn.Module):
    """What reads a number off the logits without learning: the centre of each class, as a buffer.

    Args:
        centers: The number of each class in the target's unit, increasing, shape (K,).
        saved: Whether the centres go into checkpoints, because they come from data and not from the arguments.
    """

    centers: Tensor

    def __init__(self, centers: Edges, *, saved: bool = False) -> None:
        super().__init__()
        self.register_buffer("centers", _increasing("centers", centers), persistent=saved)


class ExpectationHead(_ReadingHead):
    """The expected centre: `value = sum_k softmax(z)_k * centers_k`. Nothing is learned.

    Args:
        centers: The middle of each level in the target's unit, increasing, shape (K,).

    Raises:
        ConfigError: If `centers` is not a list of increasing, finite numbers.
    """

    def forward(self, logits: Tensor) -> Tensor:
        """Return the value of each image: logits (B, K) -> (B,)."""
        return expected_value(logits, self.centers)


def expected_value(logits: Tensor, centers: Tensor) -> Tensor:
    """Return the expected centre of each image: logits (B, K) and centres (K,) -> (B,)."""
    z = _checked(logits, centers)
    return (z.softmax(dim=1) * centers.to(z.dtype)).sum(dim=1)


class ArgmaxHead(_ReadingHead):
    """The centre of the most probable class: `value = centers[argmax_k z_k]`. Nothing is learned, no gradient flows.

    Args:
        centers: The number of each class in the target's unit, increasing, shape (K,).

    Raises:
        ConfigError: If `centers` is not a list of increasing, finite numbers.
    """

    def forward(self, logits: Tensor) -> Tensor:
        """Return the value of each image: logits (B, K) -> (B,)."""
        return self.centers[_checked(logits, self.centers).argmax(dim=1)]


class _ShiftingHead(nn.Module):
    """The layers that both learned heads share: `delta = tanh(W2 relu(W1 z + b1) + b2)`, one per level, in (-1, 1).

    W1 is (2K, K) and W2 (K, 2K), drawn from N(0, 0.001) with biases of 0, as published: delta is close to 0 at first,
    and both layers have a gradient. They read the logits as they are, as published.
    """

    def __init__(self, num_levels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(num_levels, 2 * num_levels)
        self.shift = nn.Linear(2 * num_levels, num_levels)
        for layer in (self.hidden, self.shift):
            nn.init.normal_(layer.weight, std=0.001)
            nn.init.zeros_(layer.bias)

    def _deltas(self, z: Tensor) -> Tensor:
        with without_autocast(z.device.type):
            hidden = self.hidden(z.to(self.hidden.weight.dtype)).relu()
            return torch.tanh(self.shift(hidden)).to(z.dtype)


class PublishedHead(_ShiftingHead):
    """NumCLIP's regressor as its code has it: `value = sum_k softmax(z)_k * lower_k / (1 + delta_k)`.

    Two consequences to know: a level whose lower edge is 0 always yields 0, whatever is learned, so the values inside
    it are out of reach; and the value is unbounded as delta nears -1, and infinite or NaN where tanh rounds to -1.
    `BoundedHead` has neither fault. Of the published module only these layers are used, so only they are built.

    Args:
        lower: The first value of each level in the target's unit, increasing, shape (K,).

    Raises:
        ConfigError: If `lower` is not a list of increasing, finite numbers.
    """

    lower: Tensor

    def __init__(self, lower: Edges) -> None:
        edges = _increasing("lower", lower)
        super().__init__(len(edges))
        self.register_buffer("lower", edges, persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        """Return the value of each image: logits (B, K) -> (B,)."""
        z = _checked(logits, self.lower)
        return (z.softmax(dim=1) * self.lower.to(z.dtype) / (1 + self._deltas(z))).sum(dim=1)


class BoundedHead(_ShiftingHead):
    """Each level's centre, shifted inside a bound: `value = sum_k softmax(z)_k * (centers_k + shift_k)`.

    `shift_k` is `delta_k` times the distance to the next level's centre where delta is positive, to the previous one's
    where it is negative; the first level reaches down to the scale's minimum and the last one up to its maximum. So

    - the value never leaves the scale, being a mean of numbers that lie on it;
    - a level reaches all its own values well before tanh saturates, and overlaps with its neighbours where the
      phrases are unsure; levels of a single value can shift too;
    - at first delta is close to 0, and the value is the expected centre.

    A single value at the end of the scale can only shift inwards, and rests where its delta points outwards.

    Args:
        lower: The first value of each level in the target's unit, increasing, shape (K,).
        upper: The last value of each level, shape (K,); equal to `lower` where a level is a single value.
        centers: The middle of each level, shape (K,).

    Raises:
        ConfigError: If the three don't have one length, are not increasing and finite, or are not in the order lower,
            center, upper.
    """

    centers: Tensor
    reach_down: Tensor
    reach_up: Tensor
    bounds: Tensor

    def __init__(self, lower: Edges, upper: Edges, centers: Edges) -> None:
        low, high, middle = (
            _increasing(name, edges) for name, edges in (("lower", lower), ("upper", upper), ("centers", centers))
        )
        if not len(low) == len(high) == len(middle):
            raise ConfigError(
                f"lower, upper and centers have {len(low)}, {len(high)} and {len(middle)} entries; give one of each "
                "for every level."
            )
        if (low > middle).any() or (middle > high).any():
            raise ConfigError(
                f"centers {middle.tolist()} don't lie between lower {low.tolist()} and upper {high.tolist()}; each "
                "level needs lower <= center <= upper."
            )
        super().__init__(len(middle))
        stops = torch.cat([low[:1], middle, high[-1:]])
        self.register_buffer("centers", middle, persistent=False)
        self.register_buffer("reach_down", middle - stops[:-2], persistent=False)
        self.register_buffer("reach_up", stops[2:] - middle, persistent=False)
        self.register_buffer("bounds", torch.stack([low[0], high[-1]]), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        """Return the value of each image: logits (B, K) -> (B,), never outside the scale."""
        z = _checked(logits, self.centers)
        delta = self._deltas(z)
        reach = torch.where(delta > 0, self.reach_up, self.reach_down).to(z.dtype)
        value = (z.softmax(dim=1) * (self.centers.to(z.dtype) + delta * reach)).sum(dim=1)
        # The sum stays in bounds but for its rounding; this cuts no more than that.
        minimum, maximum = self.bounds.to(z.dtype)
        return value.clamp(minimum, maximum)


def build_head(kind: HeadKind, lower: Edges, upper: Edges, centers: Edges) -> PublishedHead | BoundedHead:
    """Build a learned head by name.

    Args:
        kind: `"published"` (`PublishedHead`) or `"bounded"` (`BoundedHead`).
        lower: The first value of each level in the target's unit, shape (K,).
        upper: The last value of each level, shape (K,); the published head has no use for it.
        centers: The middle of each level, shape (K,); the published head has no use for it.

    Returns:
        The head, newly initialised.

    Raises:
        ConfigError: If `kind` is unknown or the edges contradict each other.
    """
    check_choice("head", kind, get_args(HeadKind))
    if kind == "published":
        return PublishedHead(lower)
    return BoundedHead(lower, upper, centers)


def build_decoder(decode: Decode, centers: Edges, *, saved: bool = False) -> ExpectationHead | ArgmaxHead:
    """Build what reads a number from the logits without learning.

    Args:
        decode: `"expectation"` (`ExpectationHead`) or `"argmax"` (`ArgmaxHead`).
        centers: The number of each class in the target's unit, shape (K,).
        saved: Whether the centres go into checkpoints, because they come from data and not from the arguments.

    Raises:
        ConfigError: If `decode` is unknown or the centres contradict each other.
    """
    check_choice("decode", decode, get_args(Decode))
    return (ExpectationHead if decode == "expectation" else ArgmaxHead)(centers, saved=saved)


def _increasing(name: str, edges: Edges) -> Tensor:
    """Copy edges into a floating-point tensor, checked."""
    tensor = torch.as_tensor(edges).detach().clone()
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.get_default_dtype())
    if tensor.ndim != 1 or len(tensor) == 0 or not tensor.isfinite().all() or not (tensor.diff() > 0).all():
        raise ConfigError(
            f"{name} is {tensor.tolist()}; give one finite number for each level, each greater than the one before it."
        )
    return tensor


def _checked(logits: Tensor, levels: Tensor) -> Tensor:
    """Check the logits' shape and return them in at least float32."""
    if logits.ndim != 2 or logits.shape[1] != len(levels):
        raise ConfigError(
            f"logits have shape {tuple(logits.shape)}; this head was built for {len(levels)} levels and takes shape "
            f"(images, {len(levels)})."
        )
    return at_least_float32(logits)
