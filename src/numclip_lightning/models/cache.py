"""A cache of training features: what their classes say of a new image, by how near it lies to each."""

from typing import Any

import torch
from torch import Tensor, nn

from numclip_lightning.precision import at_least_float32, without_autocast

__all__ = ["KeyCache", "soft_values"]


class KeyCache(nn.Module):
    """Tip-Adapter's cache (arXiv 2111.03930, eq. 3-5): `exp(-beta (1 - f K^T)) L`.

    K are the keys, a training feature of length one each, and L their values, a distribution over the classes each. It
    starts empty and has any number of entries; a checkpoint brings its own number.

    Args:
        dim: Size D of a feature.
        num_classes: C.

    Attributes:
        keys: K, a parameter, (N, D).
        values: L, a buffer, (N, C).
    """

    values: Tensor

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.empty(0, dim))
        self.register_buffer("values", torch.empty(0, num_classes))

    def resize(self, number: int) -> None:
        """Make room for a number of entries, which say nothing until they are filled; keep those of a cache that fits.

        The parameter is a new one then, so that this comes before optimisers and processes take hold of it.
        """
        if number != len(self.keys):
            self.keys = nn.Parameter(self.keys.new_zeros(number, self.keys.shape[1]), self.keys.requires_grad)
            self.values = self.values.new_zeros(number, self.values.shape[1])

    def fill(self, position: Tensor, keys: Tensor, values: Tensor) -> None:
        """Set some entries.

        Args:
            position: Which, int64 (M,), 0..N-1.
            keys: Features of length one, (M, D).
            values: (M, C).
        """
        position = position.to(self.values.device)
        with torch.no_grad():
            self.keys[position] = keys.to(self.keys)
            self.values[position] = values.to(self.values)

    def forward(self, features: Tensor, beta: Tensor) -> Tensor:
        """Return what the cache says of features (B, D) of length one: (B, C), in float32 at least.

        Args:
            features: Of the new images.
            beta: How fast an entry's say falls with its distance; a scalar.
        """
        with without_autocast(features.device.type):
            affinity = at_least_float32(features) @ self.keys.T
            return torch.exp(-beta * (1 - affinity)) @ self.values

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if prefix + "values" in state_dict:
            self.resize(len(state_dict[prefix + "values"]))
        super()._load_from_state_dict(state_dict, prefix, *args)


def soft_values(label: Tensor, centers: Tensor, tau: float | None) -> Tensor:
    """Return the values of cache entries: certainty of their class, or a share for its neighbours on the scale.

    Args:
        label: The class of each, int64 (N,), 0..C-1.
        centers: The number that each class stands for, (C,).
        tau: In the unit of `centers`: class j has `exp(-|center - center_j| / tau)`, as it stands; None or 0 is the
            published one-hot.

    Returns:
        (N, C), 1 for the class itself.
    """
    centers = centers.to(label.device)
    distance = (centers[:, None] - centers).abs()
    table = torch.exp(-distance / tau) if tau else (distance == 0).to(centers.dtype)
    return table[label]
