"""Antonym scale: how much nearer an image is to "a good photo" than to "a bad photo" is its place on the scale.

Source: Wang, Chan and Loy, "Exploring CLIP for Assessing the Look and Feel of Images", AAAI 2023 (arXiv 2207.12396):
CLIP-IQA as it comes, CLIP-IQA+ with a learned context. The fidelity loss: Zhang et al., "Blind Image Quality Assessment
via Vision-Language Correspondence: A Multitask Learning Perspective", CVPR 2023 (LIQE, arXiv 2303.14968).
"""

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.errors import check_weight, refuse
from numclip_lightning.losses import pair_fidelity, weighted_mean
from numclip_lightning.methods.base import Batch, ContextMethod, LearningRates, OptimizerSpec, Output, SchedulerSpec
from numclip_lightning.models.prompts import ConceptPrompts

__all__ = ["AntonymScale"]


class AntonymScale(ContextMethod[ConceptPrompts]):
    """`s = softmax(z_high, z_low)_high`, and `value = minimum + s (maximum - minimum)`, z the scaled similarities.

    With all rates 0 and the template's own words it is CLIP-IQA, without training; with a learned context CLIP-IQA+.

    Args:
        antonyms: Pairs of words for the low and the high end, such as `[[bad, good], [blurry, sharp]]`, whose s are
            averaged; None takes the phrases of the first and the last level.
        squared: The weight of the squared error of s, as CLIP-IQA+ has it; 0 leaves it out.
        fidelity: The weight of the fidelity loss over the pairs of a batch (LIQE); 0 leaves it out.
    """

    weighs_images: ClassVar[bool] = True

    antonyms: Sequence[Sequence[str]] | None = None
    squared: float = 1.0
    fidelity: float = 0.0
    num_context = 16
    learning_rates = LearningRates(image_encoder=0, adapter=0, context=2e-3, phrases=0, head=0)
    optimizer = OptimizerSpec("SGD")
    lr_scheduler = SchedulerSpec("CosineAnnealingLR")

    def check(self) -> None:
        """Refuse pairs that are none, and weights that are negative or all 0."""
        super().check()
        check_weight("squared", self.squared, "left out")
        check_weight("fidelity", self.fidelity, "left out")
        if self.squared == self.fidelity == 0:
            refuse("squared and fidelity are both 0, so that nothing is learned; give one of them a weight.")
        if self.imbalance.weights != "none" and not self.squared:
            refuse(
                f"imbalance.weights is {self.imbalance.weights!r}, but the fidelity of pairs gives no image a weight "
                "of its own; give squared a weight, or set imbalance.weights=none."
            )
        if self.antonyms is None and self.scale.num_levels < 2:
            refuse("the scale has a single level, and the antonyms are its first and last; give antonyms.")
        for pair in [] if self.antonyms is None else self.antonyms or [()]:
            if isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
                refuse(f"antonyms has {pair!r}; give pairs of different words, [low, high], one at least.")

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The words of the low and the high end of each pair."""
        if self.antonyms is None:
            return [(self.scale.phrases[0], self.scale.phrases[-1])]
        return [(low, high) for low, high in self.antonyms]

    def build_prompts(self) -> ConceptPrompts:
        """Return two prompts for each pair, the low ones first."""
        low, high = zip(*self.pairs, strict=True)
        return ConceptPrompts(self.clip, self.scale.template, [*low, *high], self.num_context, self.position)

    def decode_features(self, features: Tensor) -> Output:
        """Return values (B,), the certainty of their levels as logits (B, K), and the `share` s of each, (B,)."""
        low, high = self.compare(features).chunk(2, dim=1)
        share = (high - low).sigmoid().mean(dim=1)
        axis = self.scale.axis
        value = axis.number(axis.minimum + share * (axis.maximum - axis.minimum))
        return self.one_hot_output(value, {"share": share})

    @property
    def contrast(self) -> str:
        """What of the loss contrasts the images of a batch."""
        return "fidelity" if self.fidelity else super().contrast

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the squared error of the share and the fidelity of the pairs, those that have a weight."""
        share, losses = output.extras["share"], dict[str, Tensor]()
        axis = self.scale.axis
        value, target = self.value_places(output, {**batch, "target": batch["target"].to(share.dtype)})
        if self.squared:
            true = (target - axis.minimum) / (axis.maximum - axis.minimum)
            losses["squared"] = self.squared * weighted_mean(F.mse_loss, batch.get("weight"), share, true)
        if self.fidelity:
            losses["fidelity"] = self.fidelity * pair_fidelity(value / self.loss_unit, target)
        return losses
