"""L1 regression: one number from the image features, trained with its absolute error; the simplest baseline."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.losses import weighted_mean
from numclip_lightning.methods.base import Batch, ImageMethod, Output
from numclip_lightning.models.image_heads import LinearHead

__all__ = ["L1Regression"]


class L1Regression(ImageMethod):
    """The image tower and a linear layer to the number, whose -1 and 1 are the ends of the scale.

    So one learning rate suits both five decades and a hundred years. It starts near the middle. The number may leave
    the scale: beyond the ends, its error counts in full, and its level is the first or the last.
    """

    weighs_images: ClassVar[bool] = True

    def build_head(self) -> LinearHead:
        """Return a linear layer to one number, close to 0 at first."""
        head = LinearHead(self.clip.embed_dim, 1)
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)
        return head

    def decode_features(self, features: Tensor) -> Output:
        """Return values (B,), and as logits the certainty of their levels, (B, K)."""
        axis = self.scale.axis
        middle, reach = (axis.maximum + axis.minimum) / 2, (axis.maximum - axis.minimum) / 2
        return self.one_hot_output(axis.number(middle + reach * self.head(features).squeeze(dim=1)))

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute error, in steps of the scale."""
        error = weighted_mean(F.l1_loss, batch.get("weight"), *self.value_places(output, batch))
        return {"value": error / self.loss_unit}
