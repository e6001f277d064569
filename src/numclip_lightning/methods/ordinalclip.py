"""OrdinalCLIP: one prompt for each value, interpolated from a few learned base ranks.

Source: Li et al., "OrdinalCLIP: Learning Rank Prompts for Language-Guided Ordinal Regression", NeurIPS 2022 (arXiv
2206.02338), section 3.
"""

from typing import ClassVar

from torch import Tensor

from numclip_lightning.errors import check_weight, refuse
from numclip_lightning.losses import text_to_image_kl
from numclip_lightning.methods.base import Batch, ClassesMethod, ContextMethod, LearningRates, Output
from numclip_lightning.models.prompts import Interpolation, RankPrompts

__all__ = ["OrdinalCLIP"]


class OrdinalCLIP(ClassesMethod, ContextMethod[RankPrompts]):
    """OrdinalCLIP: rank prompts over all values of the scale, image tower tuned, cross-entropy and a KL term.

    The scale's levels serve only accuracy and phrases: the probability of a level is the sum over its values.

    Args:
        num_base: How many base ranks are learned.
        interpolation: How the weight of a base falls with its distance.
        num_tokens: Tokens of a rank.
        base_phrases: Words that the bases start from, one entry for each; None starts from random ones.
        text_to_image: The weight of the KL term; 0 leaves it out.
        learning_rates: The learning rate of each part, `phrases` being the bases; 0 freezes it.
    """

    num_base: int = 3
    interpolation: Interpolation = "linear"
    num_tokens: int = 1
    base_phrases: list[str] | None = None
    text_to_image: float = 1.0
    learning_rates = LearningRates(adapter=0, head=0)

    loss_name: ClassVar[str] = "image_to_text"
    over_levels = False

    def check(self) -> None:
        """Refuse a negative weight and base ranks that stay random."""
        super().check()
        check_weight("text_to_image", self.text_to_image, "left out")
        if self.base_phrases is None and self.learning_rates.phrases == 0:
            refuse(
                "learning_rates.phrases is 0, but the base ranks start from random tokens, which would stay random; "
                "raise the rate, or give base_phrases."
            )

    def build_prompts(self) -> RankPrompts:
        """Return one prompt for each value of the scale."""
        return RankPrompts(
            self.clip,
            self.scale.template,
            self.scale.num_ranks,
            self.num_base,
            self.interpolation,
            self.num_tokens,
            self.base_phrases,
            self.num_context,
            self.position,
        )

    def decode_features(self, features: Tensor) -> Output:
        """Return the similarities, (B, R), and the values (B,) that the decoder reads from them."""
        return self.class_output(self.compare(features))

    @property
    def contrast(self) -> str:
        """What of the loss contrasts the images of a batch."""
        return "text_to_image" if self.text_to_image else super().contrast

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy over the values and, if it has a weight, the KL term."""
        losses = super().losses(output, batch)
        if self.text_to_image:
            losses["text_to_image"] = self.text_to_image * text_to_image_kl(output.logits, batch["rank"])
        return losses
