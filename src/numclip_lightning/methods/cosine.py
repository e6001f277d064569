"""Cosine classifier: a direction for each class in place of words, the baseline "CE" of the ordinal papers.

Source: Li et al., "OrdinalCLIP", NeurIPS 2022 (arXiv 2206.02338), the baseline of its published code: cross-entropy
over cosine similarities times 100.
"""

from numclip_lightning.methods.base.classifier import Classes, ImageClassifier
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.models.heads import Decode
from numclip_lightning.models.image_heads import CosineHead
from numclip_lightning.scale import OrdinalScale

__all__ = ["CosineClassifier"]


class CosineClassifier(ImageClassifier):
    """The image tower and one learned direction for each class, trained with cross-entropy.

    It is what remains of CLIP's comparison when the words are taken away: a measure of what words are worth.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        classes: The `values` of the scale, or its `levels`.
        decode: How the number is read: the `expectation`, or that of the most probable class (`argmax`). A level counts
            as its centre.
        learning_rates: The learning rate of each part, `head` being the directions; 0 freezes it.
        optimizer: The optimiser.
        lr_scheduler: The schedule, or None for constant rates.
        tolerance: The k of the cumulative score CS@k, in the target's unit.

    Raises:
        ConfigError: If an argument is unknown; ScaleError and BackboneError are kinds of it.
    """

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str = "ViT-B-16-quickgelu",
        pretrained: str | None = "openai",
        classes: Classes = "values",
        decode: Decode = "expectation",
        learning_rates: LearningRates = LearningRates(adapter=0, context=0, phrases=0, head=1e-2),
        optimizer: OptimizerSpec = OptimizerSpec(),
        lr_scheduler: SchedulerSpec | None = SchedulerSpec(),
        tolerance: float = 5.0,
    ) -> None:
        super().__init__(
            scale, backbone, pretrained, classes, decode, learning_rates, optimizer, lr_scheduler, tolerance
        )
        self.head = CosineHead(self.clip.embed_dim, self.num_classes)
        self.freeze_parts()
