"""CoOp: the words around the class names are learned, for levels in words or for bare numbers.

Source: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022 (arXiv 2109.01134), section 3.2.
"""

from torch import Tensor

from numclip_lightning.errors import check_weight
from numclip_lightning.losses import text_to_image_kl
from numclip_lightning.methods.base.named import NamedMethod, Names
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.heads import Decode
from numclip_lightning.models.prompts import ConceptPrompts, Position
from numclip_lightning.scale import OrdinalScale

__all__ = ["CoOp"]


class CoOp(NamedMethod):
    """CoOp: a learned context for all classes (or one for each), trained with cross-entropy.

    By default everything but the context is frozen, as published. The ordinal papers run another "CoOp": image tower
    and class names are trained too, with OrdinalCLIP's loss (`configs/methods/coop_ordinal.yaml`).

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        names: The classes: the `numbers` of the scale, or the `phrases` or `ranges` of its levels.
        num_context: How many random context tokens are learned; None starts from the template's words.
        position: Where the class name stands among random context tokens.
        shared_context: Whether all classes learn one context; otherwise each has its own.
        decode: How the number is read: `expectation`, or of the most probable class (`argmax`). A level counts as its
            centre.
        text_to_image: The weight of OrdinalCLIP's text-to-image loss; 0 leaves it out.
        learning_rates: The learning rate of each part; 0 freezes it.
        optimizer: The optimiser.
        lr_scheduler: The schedule, or None for constant rates.
        tolerance: The k of the cumulative score CS@k, in the target's unit.

    Raises:
        ConfigError: If the arguments contradict each other; ScaleError and BackboneError are kinds of it.
    """

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str = "ViT-B-16-quickgelu",
        pretrained: str | None = "openai",
        names: Names = "numbers",
        num_context: int | None = 16,
        position: Position = "tail",
        shared_context: bool = True,
        decode: Decode = "expectation",
        text_to_image: float = 0.0,
        learning_rates: LearningRates = LearningRates(image_encoder=0, adapter=0, context=2e-3, phrases=0, head=0),
        optimizer: OptimizerSpec = OptimizerSpec("SGD"),
        lr_scheduler: SchedulerSpec | None = SchedulerSpec("CosineAnnealingLR"),
        tolerance: float = 5.0,
    ) -> None:
        super().__init__(scale, backbone, pretrained, names, decode, learning_rates, optimizer, lr_scheduler, tolerance)
        check_weight("text_to_image", text_to_image, "left out")
        self.text_to_image = text_to_image
        self.prompts = ConceptPrompts(
            self.clip, self.scale.template, self.words, num_context, position, shared_context=shared_context
        )
        self.freeze_parts()

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy and, where it has a weight, the text-to-image loss."""
        losses = super().losses(output, batch)
        if self.text_to_image:
            losses["text_to_image"] = self.text_to_image * text_to_image_kl(output.logits, self.true_class(batch))
        return losses
