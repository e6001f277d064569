"""OrdinalCLIP: one prompt for each value, interpolated from a few learned base ranks.

Source: Li et al., "OrdinalCLIP: Learning Rank Prompts for Language-Guided Ordinal Regression", NeurIPS 2022 (arXiv
2206.02338), section 3.
"""

from collections.abc import Iterable

from torch import Tensor, nn

from numclip_lightning.errors import ConfigError, check_weight
from numclip_lightning.losses import fcrc_image_to_text, text_to_image_kl
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.prompted import PromptedMethod
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.heads import Decode, build_decoder
from numclip_lightning.models.prompts import Interpolation, Position, RankPrompts
from numclip_lightning.scale import OrdinalScale

__all__ = ["OrdinalCLIP"]


class OrdinalCLIP(PromptedMethod[RankPrompts]):
    """OrdinalCLIP: rank prompts over all values of the scale, image tower tuned, cross-entropy and a KL term.

    The scale's levels are for accuracy and phrases alone: the probability of a level is the sum over its values.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        num_base: How many base ranks are learned.
        interpolation: How the weight of a base falls with its distance.
        num_tokens: Tokens of a rank.
        base_phrases: Words that the bases start from, one entry for each; None starts from random ones.
        num_context: How many random context tokens are learned; None starts from the template's words.
        position: Where the rank stands among random context tokens.
        decode: How the number is read: `expectation`, or of the most probable value (`argmax`).
        text_to_image: The weight of the KL term; 0 leaves it out.
        learning_rates: The learning rate of each part, `phrases` being the bases; 0 freezes it.
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
        num_base: int = 3,
        interpolation: Interpolation = "linear",
        num_tokens: int = 1,
        base_phrases: list[str] | None = None,
        num_context: int | None = 10,
        position: Position = "tail",
        decode: Decode = "expectation",
        text_to_image: float = 1.0,
        learning_rates: LearningRates = LearningRates(adapter=0, head=0),
        optimizer: OptimizerSpec = OptimizerSpec(),
        lr_scheduler: SchedulerSpec | None = SchedulerSpec(),
        tolerance: float = 5.0,
    ) -> None:
        super().__init__(scale, backbone, pretrained, learning_rates, optimizer, lr_scheduler, tolerance)
        check_weight("text_to_image", text_to_image, "left out")
        self.text_to_image = text_to_image
        self.prompts = RankPrompts(
            self.clip,
            self.scale.template,
            self.scale.num_ranks,
            num_base,
            interpolation,
            num_tokens,
            base_phrases,
            num_context,
            position,
        )
        self.decoder = build_decoder(decode, self.scale.values)
        if base_phrases is None and self.learning_rates.phrases == 0:
            raise ConfigError(
                "learning_rates.phrases is 0, but the base ranks start from random tokens, which would stay random; "
                "raise the rate, or give base_phrases."
            )
        self.freeze_parts()

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        return {**super().parts(), "phrases": [self.prompts.base]}

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy over the values and, where it has a weight, the KL term."""
        losses = {"image_to_text": fcrc_image_to_text(output.logits, batch["rank"], "none")}
        if self.text_to_image:
            losses["text_to_image"] = self.text_to_image * text_to_image_kl(output.logits, batch["rank"])
        return losses
