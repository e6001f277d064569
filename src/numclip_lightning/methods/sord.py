"""SORD: cross-entropy with labels that are softened by their distance from the true one.

Source: Diaz and Marathe, "Soft Labels for Ordinal Regression", CVPR 2019.
"""

import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.losses import Distance, soft_labels
from numclip_lightning.methods.base.classifier import ImageClassifier
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.heads import Decode
from numclip_lightning.models.image_heads import LinearHead
from numclip_lightning.scale import OrdinalScale

__all__ = ["SORD"]


class SORD(ImageClassifier):
    """A linear classifier over the values of the scale, trained with soft ordinal labels.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        distance: How a label falls with its distance from the true value, in steps of the scale: by the `absolute` or
            the `squared` one.
        temperature: How soft the labels are, greater than 0.
        decode: How the number is read: `expectation`, or of the most probable value (`argmax`).
        learning_rates: The learning rate of each part; 0 freezes it.
        optimizer: The optimiser.
        lr_scheduler: The schedule, or None for constant rates.
        tolerance: The k of the cumulative score CS@k, in the target's unit.

    Raises:
        ConfigError: If an argument is unknown or out of range; ScaleError and BackboneError are kinds of it.
    """

    labels: Tensor

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str = "ViT-B-16-quickgelu",
        pretrained: str | None = "openai",
        distance: Distance = "absolute",
        temperature: float = 1.0,
        decode: Decode = "expectation",
        learning_rates: LearningRates = LearningRates(adapter=0, context=0, phrases=0, head=1e-2),
        optimizer: OptimizerSpec = OptimizerSpec(),
        lr_scheduler: SchedulerSpec | None = SchedulerSpec(),
        tolerance: float = 5.0,
    ) -> None:
        super().__init__(
            scale, backbone, pretrained, "values", decode, learning_rates, optimizer, lr_scheduler, tolerance
        )
        self.register_buffer("labels", soft_labels(self.num_classes, distance, temperature), persistent=False)
        self.head = LinearHead(self.clip.embed_dim, self.num_classes)
        self.freeze_parts()

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy with the soft labels."""
        return {"soft_labels": F.cross_entropy(output.logits, self.labels[self.true_class(batch)])}
