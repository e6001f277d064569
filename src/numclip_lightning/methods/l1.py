"""L1 regression: one number from the image features, trained with its absolute error; the simplest baseline."""

import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.methods.base.image import ImageMethod
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.image_heads import LinearHead
from numclip_lightning.scale import OrdinalScale

__all__ = ["L1Regression"]


class L1Regression(ImageMethod):
    """The image tower and a linear layer to the number, whose -1 and 1 are the ends of the scale.

    So one learning rate does for five decades and for a hundred years. It starts near the middle. Nothing keeps the
    number on the scale: a value beyond its ends is as wrong as it is far, and belongs to the first or last level.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        learning_rates: The learning rate of each part; 0 freezes it.
        optimizer: The optimiser.
        lr_scheduler: The schedule, or None for constant rates.
        tolerance: The k of the cumulative score CS@k, in the target's unit.

    Raises:
        ConfigError: If an argument is out of range; ScaleError and BackboneError are kinds of it.
    """

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str = "ViT-B-16-quickgelu",
        pretrained: str | None = "openai",
        learning_rates: LearningRates = LearningRates(adapter=0, context=0, phrases=0, head=1e-2),
        optimizer: OptimizerSpec = OptimizerSpec(),
        lr_scheduler: SchedulerSpec | None = SchedulerSpec(),
        tolerance: float = 5.0,
    ) -> None:
        super().__init__(scale, backbone, pretrained, learning_rates, optimizer, lr_scheduler, tolerance)
        self.head = LinearHead(self.clip.embed_dim, 1)
        torch.nn.init.normal_(self.head.weight, std=0.01)
        torch.nn.init.zeros_(self.head.bias)
        self.freeze_parts()

    def read(self, features: Tensor) -> Output:
        """Return values (B,), and as logits the certainty of the levels that hold them, (B, K)."""
        middle = (self.scale.maximum + self.scale.minimum) / 2
        reach = (self.scale.maximum - self.scale.minimum) / 2
        return self.sure_of(middle + reach * self.head(features).squeeze(dim=1))

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute error, in steps of the scale."""
        return {"value": F.l1_loss(output.value, batch["target"]) / self.scale.step}
