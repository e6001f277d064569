"""Tip-Adapter-F: Tip-Adapter whose keys are learned, from the training features on.

Source: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification", ECCV 2022 (arXiv
2111.03930), section 3.2.
"""

import torch
from torch import Tensor

from numclip_lightning.errors import check_weight, refuse
from numclip_lightning.methods.base import (
    LearningRates,
    OptimizerSpec,
    Output,
    SchedulerSpec,
    TipAdapterMethod,
    encode_training,
)

__all__ = ["TipAdapterF"]


class TipAdapterF(TipAdapterMethod):
    """Tip-Adapter-F: the keys of the cache are trained with cross-entropy; see `TipAdapterMethod`.

    They start from the training features, encoded once before the first step. Training uses a fixed `alpha` and `beta`;
    every validation selects those that are measured and kept.

    Args:
        alpha: The weight of the cache in training.
        beta: How fast an entry's weight decays with distance, in training.
        learning_rates: The learning rate of each part, `head` being the keys; 0 freezes it. That of the image tower is
            0: the keys are features of the tower as it is.
    """

    alpha: float = 2.0
    beta: float = 1.0
    learning_rates = LearningRates(image_encoder=0, adapter=0, context=0, phrases=0, head=1e-3)
    optimizer = OptimizerSpec("AdamW", {"eps": 1e-4})
    lr_scheduler = SchedulerSpec("CosineAnnealingLR", interval="step")

    def check(self) -> None:
        """Refuse negative numbers and a rate for the image tower."""
        super().check()
        check_weight("alpha", self.alpha, "no cache")
        check_weight("beta", self.beta, "every entry alike")
        if self.learning_rates.image_encoder:
            refuse(
                f"learning_rates.image_encoder is {self.learning_rates.image_encoder}, but the keys of TipAdapterF are "
                "features of the tower as it is, which would move away from them; set it to 0."
            )

    def on_train_start(self) -> None:
        """Start the keys from the training features, unless a training is resumed."""
        super().on_train_start()
        if self.trainer.global_step > 0:
            return
        index, features, target = encode_training(self)
        self.fill_cache(features, self.with_levels({"index": index, "target": target}))

    def decode_features(self, features: Tensor) -> Output:
        """Return the joined logits, (B, R) or (B, K), and the values (B,) that the decoder reads from them."""
        if self.training:
            return self.joined_output(features, torch.tensor(self.alpha), torch.tensor(self.beta))
        return super().decode_features(features)
