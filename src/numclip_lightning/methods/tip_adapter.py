"""Tip-Adapter: a cache of training features beside zero-shot CLIP, without training.

Source: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification", ECCV 2022 (arXiv
2111.03930), section 3.1.
"""

import torch
from torch import Tensor

from numclip_lightning.methods.base import Batch, SolvedMethod, TipAdapterMethod

__all__ = ["TipAdapter"]


class TipAdapter(SolvedMethod, TipAdapterMethod):
    """Tip-Adapter: the cache as it is, filled in one pass over the training images; see `TipAdapterMethod`."""

    def solve(self, features: Tensor, batch: Batch) -> None:
        """Fill the cache: an image is keyed by the mean of its passes, as published; its class is that of the last."""
        index, place = torch.unique(batch["index"], return_inverse=True)
        mean = features.new_zeros(len(index), features.shape[1]).index_add_(0, place, features)
        mean /= place.bincount()[:, None]
        last = {number: row for row, number in enumerate(batch["index"].tolist())}
        rows = torch.tensor([last[number] for number in index.tolist()])
        self.fill_cache(mean, {key: values[rows] for key, values in batch.items()})
