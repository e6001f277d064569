"""Cache of training features (Tip-Adapter): a new image gets the classes of similar training images."""

from typing import Any

import torch
from torch import Tensor, nn

from numclip_lightning.precision import at_least_float32, without_autocast

__all__ = ["KeyCache", "soft_values"]


class KeyCache(nn.Module):
    """Cache of Tip-Adapter (arXiv 2111.03930, eq. 3-5): `exp(-beta (1 - f K^T)) L`.

    Each row of K, the keys, is a training feature of length one; each row of L, the values, is a distribution over the
    classes. The cache starts empty and can have any number of entries; a checkpoint sets its own number.

    Example:
        >>> cache = KeyCache(dim=2, num_classes=3)
        >>> cache.resize(2)
        >>> cache.fill(torch.tensor([0, 1]), keys=torch.eye(2), values=torch.eye(3)[[0, 2]])
        >>> cache(torch.tensor([[1.0, 0.0]]), beta=torch.tensor(5.0)).detach()
        tensor([[1.0000, 0.0000, 0.0067]])

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
        """Set the number of entries; new entries are zero. A cache of this size already keeps its entries.

        Otherwise `keys` is a new parameter, so call this before optimisers or distributed training refer to it.
        """
        if number != len(self.keys):
            self.keys = nn.Parameter(self.keys.new_zeros(number, self.keys.shape[1]), self.keys.requires_grad)
            self.values = self.values.new_zeros(number, self.values.shape[1])

    def fill(self, index: Tensor, keys: Tensor, values: Tensor) -> None:
        """Set some entries.

        Args:
            index: The entries to set, int64 (M,), 0..N-1.
            keys: Features of length one, (M, D).
            values: (M, C).
        """
        index = index.to(self.values.device)
        with torch.no_grad():
            self.keys[index] = keys.to(self.keys)
            self.values[index] = values.to(self.values)

    def forward(self, features: Tensor, beta: Tensor) -> Tensor:
        """Return the class scores of features (B, D) of length one: (B, C), in float32 at least.

        Args:
            features: Of the new images.
            beta: Sharpness: how fast an entry's weight decays with distance; a scalar.
        """
        with without_autocast(features.device.type):
            affinity = at_least_float32(features) @ self.keys.T
            return torch.exp(-beta * (1 - affinity)) @ self.values

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if prefix + "values" in state_dict:
            self.resize(len(state_dict[prefix + "values"]))
        super()._load_from_state_dict(state_dict, prefix, *args)


def soft_values(label: Tensor, centers: Tensor, tau: float | None) -> Tensor:
    """Return the values of cache entries: one-hot, or with shares for neighbouring classes on the scale.

    Args:
        label: The class of each, int64 (N,), 0..C-1.
        centers: The number of each class, (C,).
        tau: In the unit of `centers`: class j has `exp(-|center - center_j| / tau)`, not normalised; None or 0 is the
            published one-hot.

    Returns:
        (N, C), 1 for the class itself.

    Example:
        >>> soft_values(torch.tensor([0]), torch.tensor([0.0, 5.0, 10.0]), tau=5.0)
        tensor([[1.0000, 0.3679, 0.1353]])
    """
    centers = centers.to(label.device)
    distance = (centers[label, None] - centers).abs()
    return torch.exp(-distance / tau) if tau else (distance == 0).to(centers.dtype)
