"""Tip-Adapter: a cache of training features beside zero-shot CLIP, without training.

Source: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification", ECCV 2022 (arXiv
2111.03930), section 3.1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from numclip_lightning.methods.base.named import Names
from numclip_lightning.methods.base.optimisers import OptimizerSpec
from numclip_lightning.methods.base.solved import SOLVED, ClosedFormMethod
from numclip_lightning.methods.base.tip_adapter import ALPHAS, BETAS, CachedMethod
from numclip_lightning.methods.base.types import Batch
from numclip_lightning.models.heads import Decode
from numclip_lightning.scale import OrdinalScale

__all__ = ["TipAdapter"]


class TipAdapter(ClosedFormMethod, CachedMethod):
    """Tip-Adapter: the cache as it is, filled in one pass over the training images; see `CachedMethod`.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        names: The classes: the `numbers` of the scale, or the `phrases` or `ranges` of its levels.
        decode: How the number is read: `expectation`, or of the most probable class (`argmax`). A level counts as its
            centre.
        tau: How far an entry speaks for neighbouring classes, in the target's unit (`models.cache.soft_values`); None
            is as published: for its own class alone.
        alphas: The weights of the cache to choose from.
        betas: How fast an entry's say falls with its distance, to choose from.
        tolerance: The k of the cumulative score CS@k, in the target's unit.

    Raises:
        ConfigError: If an argument is unknown or out of range; ScaleError and BackboneError are kinds of it.
    """

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str = "ViT-B-16-quickgelu",
        pretrained: str | None = "openai",
        names: Names = "numbers",
        decode: Decode = "expectation",
        tau: float | None = None,
        alphas: Sequence[float] = ALPHAS,
        betas: Sequence[float] = BETAS,
        tolerance: float = 5.0,
    ) -> None:
        super().__init__(
            scale, backbone, pretrained, names, decode, tau, alphas, betas, SOLVED, OptimizerSpec(), None, tolerance
        )

    def solve(self, features: Tensor, batch: Batch) -> None:
        """Fill the cache: an image is keyed by the mean of its passes, as published; its class is that of the last."""
        index, place = torch.unique(batch["index"], return_inverse=True)
        mean = features.new_zeros(len(index), features.shape[1]).index_add_(0, place, features)
        mean /= place.bincount()[:, None]
        last = {number: row for row, number in enumerate(batch["index"].tolist())}
        rows = torch.tensor([last[number] for number in index.tolist()])
        self.fill_cache(mean, {key: values[rows] for key, values in batch.items()})
