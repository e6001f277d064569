"""SORD: cross-entropy with labels that are softened by their distance from the true one.

Source: Diaz and Marathe, "Soft Labels for Ordinal Regression", CVPR 2019.
"""

from dataclasses import field
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.losses import Distance, soft_labels, weighted_mean
from numclip_lightning.methods.base import Batch, Classes, ImageClassifier, Output
from numclip_lightning.models.image_heads import LinearHead
from numclip_lightning.precision import at_least_float32

__all__ = ["SORD"]


class SORD(ImageClassifier):
    """A linear classifier over the values of the scale, trained with soft ordinal labels.

    Args:
        distance: How a label falls with its distance from the true value, in steps of the scale: by the `absolute` or
            the `squared` one.
        temperature: How soft the labels are, greater than 0.
    """

    classes: Classes = field(default="values", init=False)
    distance: Distance = "absolute"
    temperature: float = 1.0
    labels: Tensor = field(init=False)

    reads_raters: ClassVar[bool] = True

    def build(self) -> None:
        """Build the classifier and the table of soft labels."""
        labels = soft_labels(self.num_classes, self.distance, self.temperature)
        super().build()
        self.register_buffer("labels", labels, persistent=False)

    def build_head(self) -> LinearHead:
        """Return a linear layer with an output for each value."""
        return LinearHead(self.clip.embed_dim, self.num_classes)

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy with the soft labels; its least value is their entropy, not 0."""
        logits = at_least_float32(self.adjusted(output.logits))
        if "distribution" in batch:
            # The mean over the votes of the labels that each has.
            labels = batch["distribution"].to(logits.dtype) @ self.labels.to(logits.dtype)
        else:
            labels = self.labels[self.true_class(batch)].to(logits.dtype)
        return {"soft_labels": weighted_mean(F.cross_entropy, batch.get("weight"), logits, labels)}
