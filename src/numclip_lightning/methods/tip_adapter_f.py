"""Tip-Adapter-F: Tip-Adapter whose keys are learned, from the training features on.

Source: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification", ECCV 2022 (arXiv
2111.03930), section 3.2.
"""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from numclip_lightning.errors import ConfigError, check_weight
from numclip_lightning.methods.base.named import Names
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.samples import encode_share, gather
from numclip_lightning.methods.base.tip_adapter import ALPHAS, BETAS, CachedMethod
from numclip_lightning.methods.base.types import Output
from numclip_lightning.models.heads import Decode
from numclip_lightning.scale import OrdinalScale

__all__ = ["TipAdapterF"]


class TipAdapterF(CachedMethod):
    """Tip-Adapter-F: the keys of the cache are trained with cross-entropy; see `CachedMethod`.

    They start from the training features, encoded once before the first step. Training sees a fixed `alpha` and `beta`;
    every validation chooses those that are measured and kept.

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
        alpha: The weight of the cache in training.
        beta: How fast an entry's say falls with its distance, in training.
        learning_rates: The learning rate of each part, `head` being the keys; 0 freezes it. That of the image tower is
            0: the keys are features of the tower as it is.
        optimizer: The optimiser.
        lr_scheduler: The schedule, or None for constant rates.
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
        alpha: float = 2.0,
        beta: float = 1.0,
        learning_rates: LearningRates = LearningRates(image_encoder=0, adapter=0, context=0, phrases=0, head=1e-3),
        optimizer: OptimizerSpec = OptimizerSpec("AdamW", {"eps": 1e-4}),
        lr_scheduler: SchedulerSpec | None = SchedulerSpec("CosineAnnealingLR", interval="step"),
        tolerance: float = 5.0,
    ) -> None:
        super().__init__(
            scale,
            backbone,
            pretrained,
            names,
            decode,
            tau,
            alphas,
            betas,
            learning_rates,
            optimizer,
            lr_scheduler,
            tolerance,
        )
        check_weight("alpha", alpha, "no cache")
        check_weight("beta", beta, "every entry alike")
        if self.learning_rates.image_encoder:
            raise ConfigError(
                f"learning_rates.image_encoder is {self.learning_rates.image_encoder}, but the keys of TipAdapterF are "
                "features of the tower as it is, which would move away from them; set it to 0."
            )
        self.training_alpha, self.training_beta = torch.tensor(alpha), torch.tensor(beta)

    def on_train_start(self) -> None:
        """Start the keys from the training features, unless a training is resumed."""
        super().on_train_start()
        if self.trainer.global_step > 0:
            return
        loader: Any = self.trainer.train_dataloader
        # Neither the order of the batches nor their targets are to depend on this pass.
        with isolate_rng():
            own = list(encode_share(self, loader.dataset, loader.batch_size, loader.num_workers))
        index, features, target = gather(own)
        self.fill_cache(features, self.on_before_batch_transfer({"index": index, "target": target}, 0))

    def read(self, features: Tensor) -> Output:
        """Return the joined logits, (B, R) or (B, K), and the values (B,) that the decoder reads from them."""
        return self.join(features, self.training_alpha, self.training_beta) if self.training else super().read(features)
