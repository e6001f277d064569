"""NumCLIP's fine heads, published and bounded: from the logits over the levels to a number, with learned shifts.

Both compute in float32 (float64 for float64 logits), under autocast too; see `heads`.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.models.heads import Edges, check_logits, increasing_edges
from numclip_lightning.precision import without_autocast

__all__ = ["BoundedHead", "HeadKind", "PublishedHead", "build_head"]

HeadKind = Literal["published", "bounded"]


class _ShiftingHead(nn.Module):
    """Layers of both learned heads: `delta = tanh(W2 relu(W1 z + b1) + b2)`, one for each level, in (-1, 1).

    W1 is (2K, K) and W2 (K, 2K), drawn from N(0, 0.001) with biases of 0, as published: delta is close to 0 at first,
    and both layers have a gradient. Their input are the raw logits, as published, and `num_more` further numbers.
    """

    def __init__(self, num_levels: int, num_more: int = 0) -> None:
        super().__init__()
        self.hidden = nn.Linear(num_levels + num_more, 2 * num_levels)
        self.shift = nn.Linear(2 * num_levels, num_levels)
        for layer in (self.hidden, self.shift):
            nn.init.normal_(layer.weight, std=0.001)
            nn.init.zeros_(layer.bias)

    def _deltas(self, z: Tensor, more: Tensor | None) -> Tensor:
        if more is not None:
            z = torch.cat([z, more.to(z.dtype)], dim=1)
        with without_autocast(z.device.type):
            hidden = self.hidden(z.to(self.hidden.weight.dtype)).relu()
            return torch.tanh(self.shift(hidden)).to(z.dtype)


class PublishedHead(_ShiftingHead):
    """NumCLIP's regressor as in its code: `value = sum_k softmax(z)_k * lower_k / (1 + delta_k)`.

    Two consequences to know: a level whose lower edge is 0 always yields 0, whatever is learned, so the values inside
    it are out of reach; and the value is unbounded as delta nears -1, and infinite or NaN if tanh rounds to -1.
    `BoundedHead` has neither fault. Of the published module only these layers are used, so only they are built.

    Args:
        lower: The first value of each level in the target's unit, increasing, shape (K,).
        num_more: Number M of inputs besides the logits.

    Raises:
        ConfigError: If `lower` is not a list of increasing, finite numbers.
    """

    lower: Tensor

    def __init__(self, lower: Edges, num_more: int = 0) -> None:
        edges = increasing_edges("lower", lower)
        super().__init__(len(edges), num_more)
        self.register_buffer("lower", edges, persistent=False)

    def forward(self, logits: Tensor, more: Tensor | None = None) -> Tensor:
        """Return the value of each image: logits (B, K), and more inputs (B, M) if it has any -> (B,)."""
        z = check_logits(logits, self.lower)
        return (z.softmax(dim=1) * self.lower.to(z.dtype) / (1 + self._deltas(z, more))).sum(dim=1)


class BoundedHead(_ShiftingHead):
    """Centre of each level, shifted inside a bound: `value = sum_k softmax(z)_k * (centers_k + shift_k)`.

    `shift_k` is `delta_k` times the distance to the next level's centre if delta is positive, to the previous one's
    if it is negative; the first level reaches down to the scale's minimum and the last one up to its maximum. So

    - the value never leaves the scale, because it is a mean of numbers on the scale;
    - a level reaches all its own values well before tanh saturates, and overlaps with its neighbours if the phrases
      are unsure; levels of a single value can shift too;
    - at first delta is close to 0, and the value is the expected centre.

    A single value at the end of the scale can only shift inwards; if its delta points outwards, it does not move.

    Args:
        lower: The first value of each level in the target's unit, increasing, shape (K,).
        upper: The last value of each level, shape (K,); equal to `lower` where a level is a single value.
        centers: The middle of each level, shape (K,).
        num_more: Number M of inputs besides the logits.

    Raises:
        ConfigError: If the three differ in length, are not increasing and finite, or are not in the order lower,
            center, upper.

    Example:
        >>> head = BoundedHead(lower=[0.0, 13.0], upper=[12.0, 99.0], centers=[6.0, 56.0])
        >>> value = head(torch.randn(8, 2))
        >>> bool(((value >= 0) & (value <= 99)).all())
        True
    """

    centers: Tensor
    reach_down: Tensor
    reach_up: Tensor
    bounds: Tensor

    def __init__(self, lower: Edges, upper: Edges, centers: Edges, num_more: int = 0) -> None:
        low, high, middle = (
            increasing_edges(name, edges) for name, edges in (("lower", lower), ("upper", upper), ("centers", centers))
        )
        if not len(low) == len(high) == len(middle):
            raise ConfigError(
                f"lower, upper and centers have {len(low)}, {len(high)} and {len(middle)} entries; give one of each "
                "for every level."
            )
        if (low > middle).any() or (middle > high).any():
            raise ConfigError(
                f"centers {middle.tolist()} are not between lower {low.tolist()} and upper {high.tolist()}; each "
                "level needs lower <= center <= upper."
            )
        super().__init__(len(middle), num_more)
        stops = torch.cat([low[:1], middle, high[-1:]])
        self.register_buffer("centers", middle, persistent=False)
        self.register_buffer("reach_down", middle - stops[:-2], persistent=False)
        self.register_buffer("reach_up", stops[2:] - middle, persistent=False)
        self.register_buffer("bounds", torch.stack([low[0], high[-1]]), persistent=False)

    def forward(self, logits: Tensor, more: Tensor | None = None) -> Tensor:
        """Return the value of each image, never outside the scale: logits (B, K), and more (B, M) if any -> (B,)."""
        z = check_logits(logits, self.centers)
        delta = self._deltas(z, more)
        reach = torch.where(delta > 0, self.reach_up, self.reach_down).to(z.dtype)
        value = (z.softmax(dim=1) * (self.centers.to(z.dtype) + delta * reach)).sum(dim=1)
        # The sum stays in bounds up to rounding; only the rounding is cut off here.
        minimum, maximum = self.bounds.to(z.dtype)
        return value.clamp(minimum, maximum)


def build_head(
    kind: HeadKind, lower: Edges, upper: Edges, centers: Edges, num_more: int = 0
) -> PublishedHead | BoundedHead:
    """Build a learned head by name.

    Args:
        kind: `"published"` (`PublishedHead`) or `"bounded"` (`BoundedHead`).
        lower: The first value of each level in the target's unit, shape (K,).
        upper: The last value of each level, shape (K,); not used by the published head.
        centers: The middle of each level, shape (K,); not used by the published head.
        num_more: Number of inputs besides the logits.

    Returns:
        The head, newly initialised.

    Raises:
        ConfigError: If `kind` is unknown or the edges contradict each other.
    """
    check_choice("head", kind, get_args(HeadKind))
    if kind == "published":
        return PublishedHead(lower, num_more)
    return BoundedHead(lower, upper, centers, num_more)
