"""AnomalyCLIP's object-agnostic prompts: a severity scale whose words name no object, learned on some, read on others.

Source: Zhou et al., "AnomalyCLIP: Object-agnostic Prompt Learning for Zero-shot Anomaly Detection", ICLR 2024 (arXiv
2310.18961), section 3.
"""

from collections.abc import Iterable
from dataclasses import field
from functools import partial
from typing import get_args

from torch import Tensor, nn

from numclip_lightning.errors import check_choice, refuse
from numclip_lightning.losses import Weighting, fcrc_image_to_text, weighted_mean
from numclip_lightning.methods.base import Batch, LearningRates, OptimizerSpec, Output, PromptClassifier, SchedulerSpec
from numclip_lightning.models.deep_prompts import DeepPrompts
from numclip_lightning.precision import at_least_float32, without_autocast

__all__ = ["AnomalyCLIP"]


class AnomalyCLIP(PromptClassifier):
    """Prompts "[V1] ... [V12] damaged object." with a learned context, in the text tower's blocks too; all else frozen.

    The template of the scale is not used: a level is its phrase and `noun`. Loss: the contrast of an image with all
    levels, the farther a wrong one the more (FCRC); for two levels that is the published cross-entropy. Give objects as
    groups (`data.group_column`), so that validation and test have objects that were never trained on.

    Args:
        noun: The word after each phrase, for any object.
        num_context: How many context tokens are learned.
        deep_tokens: How many of them each of the first blocks has anew.
        deep_blocks: In how many blocks, the first included.
        weighting: As for `fcrc_image_to_text`.
        logit_temperature: What cosines are divided by, published 0.07; None multiplies them by CLIP's own scale.
    """

    names = "phrases"
    noun: str = "object"
    num_context: int = 12
    deep_tokens: int = 4
    deep_blocks: int = 9
    weighting: Weighting = "similarities"
    logit_temperature: float | None = None
    learning_rates = LearningRates(image_encoder=0, adapter=0, context=1e-3, phrases=0, head=0)
    optimizer = OptimizerSpec("Adam", {"betas": [0.5, 0.999]})
    lr_scheduler: SchedulerSpec | None = None
    prompts: DeepPrompts = field(init=False)

    def check(self) -> None:
        """Refuse a noun that is none, a context that is never trained, and two scales of the similarities."""
        super().check()
        check_choice("weighting", self.weighting, get_args(Weighting))
        if not self.noun.strip():
            refuse(f"noun is {self.noun!r}; give a word for any object, such as object or thing.")
        if self.learning_rates.context == 0:
            refuse("learning_rates.context is 0, so that the random context would stay random; raise it.")
        if self.logit_temperature is not None:
            if not 0 < self.logit_temperature < float("inf"):
                refuse(f"logit_temperature is {self.logit_temperature}; give a positive number, such as 0.07.")
            if rate := self.learning_rates.logit_scale:
                refuse(
                    f"learning_rates.logit_scale is {rate}, but logit_temperature takes the place of that scale; set "
                    "one of them to 0 or null."
                )

    def build_prompts(self) -> DeepPrompts:
        """Return one prompt for each class, without the name of an object."""
        words = [f"{word} {self.noun}" for word in self.words]
        return DeepPrompts(self.clip, self.scale.template, words, self.num_context, self.deep_tokens, self.deep_blocks)

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part; the deep tokens are `context`."""
        prompts = self.prompts
        context = [parameter for parameter in (prompts.context, prompts.deep) if parameter is not None]
        return {**super().parts(), "context": context, "phrases": [prompts.phrases]}

    def compare(self, features: Tensor) -> Tensor:
        """Return the scaled cosine similarities of image features (B, D) and prototypes, (B, K)."""
        if self.logit_temperature is None:
            return super().compare(features)
        with without_autocast(features.device.type):
            return self.adapt(features) @ self.prototypes().T / self.logit_temperature

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the contrast of images and levels."""
        logits = at_least_float32(self.adjusted(output.logits))
        contrast = partial(fcrc_image_to_text, weighting=self.weighting)
        return {self.loss_name: weighted_mean(contrast, batch.get("weight"), logits, self.true_class(batch))}

    def _encode_prompts(self) -> Tensor:
        with self.prompts.inside(self.clip.text):
            return super()._encode_prompts()
