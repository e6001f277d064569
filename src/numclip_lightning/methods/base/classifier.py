"""What the methods share that classify images without language: a softmax over classes, and a number read from it."""

from typing import Literal, get_args

from torch import Tensor

from numclip_lightning.errors import check_choice
from numclip_lightning.losses import fcrc_image_to_text
from numclip_lightning.methods.base.image import ImageMethod
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.heads import Decode, build_decoder
from numclip_lightning.scale import OrdinalScale

__all__ = ["Classes", "ImageClassifier"]

Classes = Literal["values", "levels"]


class ImageClassifier(ImageMethod):
    """Base of the methods whose head gives a logit for each class; a method sets `head` from `num_classes`.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        classes: The `values` of the scale, or its `levels`.
        decode: How the number is read: the `expectation`, or that of the most probable class (`argmax`). A level counts
            as its centre.
        learning_rates: The learning rate of each part; 0 freezes it.
        optimizer: The optimiser.
        lr_scheduler: The schedule, or None for constant rates.
        tolerance: The k of the cumulative score CS@k, in the target's unit.

    Attributes:
        num_classes: How many classes there are, K or R.

    Raises:
        ConfigError: If `classes` or `decode` is unknown; ScaleError and BackboneError are kinds of it.
    """

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str,
        pretrained: str | None,
        classes: Classes,
        decode: Decode,
        learning_rates: LearningRates,
        optimizer: OptimizerSpec,
        lr_scheduler: SchedulerSpec | None,
        tolerance: float,
    ) -> None:
        check_choice("classes", classes, get_args(Classes))
        super().__init__(scale, backbone, pretrained, learning_rates, optimizer, lr_scheduler, tolerance)
        over_levels = classes == "levels"
        self.num_classes = self.scale.num_levels if over_levels else self.scale.num_ranks
        self.decoder = build_decoder(decode, self.scale.centers if over_levels else self.scale.values)
        self._class_key = "level" if over_levels else "rank"

    def read(self, features: Tensor) -> Output:
        """Return logits over the classes, (B, K) or (B, R), and the values (B,) that the decoder reads from them."""
        logits = self.head(features)
        return Output(logits, self.decoder(logits))

    def true_class(self, batch: Batch) -> Tensor:
        """Return the true class of each image, int64 (B,): its level, or its rank where the classes are values."""
        return batch[self._class_key]

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy over the classes."""
        return {"cross_entropy": fcrc_image_to_text(output.logits, self.true_class(batch), "none")}
