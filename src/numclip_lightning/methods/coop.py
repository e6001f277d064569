"""CoOp: the words around the class names are learned, for levels in words or for bare numbers.

Source: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022 (arXiv 2109.01134), section 3.2.
"""

from typing import ClassVar

from torch import Tensor

from numclip_lightning.errors import check_weight
from numclip_lightning.losses import text_to_image_kl
from numclip_lightning.methods.base import (
    Batch,
    ContextMethod,
    LearningRates,
    OptimizerSpec,
    Output,
    PromptClassifier,
    SchedulerSpec,
    SoftenedMethod,
)
from numclip_lightning.models.prompts import ConceptPrompts

__all__ = ["CoOp"]


class CoOp(ContextMethod[ConceptPrompts], SoftenedMethod, PromptClassifier):
    """CoOp: a learned context for all classes (or one for each), trained with cross-entropy.

    By default everything but the context is frozen, as published. The ordinal papers run another "CoOp": image tower
    and class names are trained too, with OrdinalCLIP's loss (`configs/methods/coop_ordinal.yaml`). With a
    `temperature`, labels are soft, as SORD's.

    Args:
        shared_context: Whether all classes learn one context; otherwise each has its own.
        text_to_image: The weight of OrdinalCLIP's text-to-image loss; 0 leaves it out.
    """

    num_context = 16
    shared_context: bool = True
    text_to_image: float = 0.0
    learning_rates = LearningRates(image_encoder=0, adapter=0, context=2e-3, phrases=0, head=0)
    optimizer = OptimizerSpec("SGD")
    lr_scheduler = SchedulerSpec("CosineAnnealingLR")

    reads_raters: ClassVar[bool] = True

    def check(self) -> None:
        """Refuse a negative weight."""
        super().check()
        check_weight("text_to_image", self.text_to_image, "left out")

    def build_prompts(self) -> ConceptPrompts:
        """Return one prompt for each class, with a learned context."""
        return ConceptPrompts(
            self.clip,
            self.scale.template,
            self.words,
            self.num_context,
            self.position,
            shared_context=self.shared_context,
        )

    @property
    def contrast(self) -> str:
        """What of the loss contrasts the images of a batch."""
        return "text_to_image" if self.text_to_image else super().contrast

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy and, if it has a weight, the text-to-image loss."""
        losses = super().losses(output, batch)
        if self.text_to_image:
            losses["text_to_image"] = self.text_to_image * text_to_image_kl(output.logits, self.true_class(batch))
        return losses
