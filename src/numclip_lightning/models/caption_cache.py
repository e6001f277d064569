"""Cache of training features and of the captions of the same images (CapS-Adapter)."""

from typing import Any

import torch
from torch import Tensor

from numclip_lightning.models.cache import KeyCache
from numclip_lightning.precision import at_least_float32, without_autocast

__all__ = ["CaptionCache"]


class CaptionCache(KeyCache):
    """Cache whose entries have two keys, the image X and its caption C (arXiv 2405.16591, section 3.3).

    `exp(-beta (1 - n)) L` with the affinity `n = (1 - delta) f X^T + delta f C^T`; with delta = 0 it is a `KeyCache`.

    Attributes:
        caption_keys: C, a buffer, (N, D); its rows have length one.
    """

    caption_keys: Tensor

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__(dim, num_classes)
        self.register_buffer("caption_keys", torch.empty(0, dim))

    def resize(self, number: int) -> None:
        """Set the number of entries, as `KeyCache.resize`."""
        if number != len(self.caption_keys):
            self.caption_keys = self.caption_keys.new_zeros(number, self.caption_keys.shape[1])
        super().resize(number)

    def fill_captions(self, index: Tensor, keys: Tensor) -> None:
        """Set the caption of some entries.

        Args:
            index: The entries, int64 (M,).
            keys: Text features of length one, (M, D).
        """
        self.caption_keys[index.to(self.caption_keys.device)] = keys.to(self.caption_keys)

    def joined(self, features: Tensor, beta: Tensor, delta: Tensor) -> Tensor:
        """Return the class scores (B, C) of features (B, D) of length one, in float32 at least.

        Args:
            features: Of the new images.
            beta: How fast an entry's weight decays with distance; a scalar.
            delta: The share of the caption in an entry, 0 to 1; a scalar.
        """
        with without_autocast(features.device.type):
            keys = (1 - delta) * self.keys + delta * self.caption_keys
            return torch.exp(-beta * (1 - at_least_float32(features) @ keys.T)) @ self.values

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if prefix + "caption_keys" in state_dict:
            self.resize(len(state_dict[prefix + "caption_keys"]))
        super()._load_from_state_dict(state_dict, prefix, *args)
