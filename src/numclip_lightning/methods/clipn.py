"""CLIPN in a light form: learned "no" prompts say which images are not on the scale at all.

Source: Wang et al., "CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No", ICCV 2023 (arXiv 2308.12213).
"""

from collections.abc import Iterable
from dataclasses import field
from typing import ClassVar

from torch import Tensor, nn

from numclip_lightning.errors import check_weight, refuse
from numclip_lightning.losses import agreement, apart_loss, no_loss, yes_loss
from numclip_lightning.methods.base import Batch, LearningRates, OptimizerSpec, Output, PromptClassifier, SchedulerSpec
from numclip_lightning.models.no_prompts import YesNoPrompts
from numclip_lightning.models.prompts import Position

__all__ = ["CLIPN"]


class CLIPN(PromptClassifier):
    """Zero-shot CLIP with a "no" prompt for each level, which is learned: an image that every level refuses is off.

    The number is zero-shot CLIP's and never changes. What is learned is one context of the "no" prompts; both towers
    are frozen. `on_scale`, the probability that an image shows any level, is among the output's extras, so that
    predictions and exported models have it.

    As the number is the same in every epoch, checkpoints are selected by `val_loss` (`checkpoint.monitor`).

    Args:
        num_context: How many context tokens the "no" prompts learn.
        position: The place of the phrase among them.
        yes_weight: The weight of the loss of an image's own level.
        no_weight: The weight of the loss of all other levels, which count by their distance.
        apart_weight: The weight of the loss that keeps each "no" prompt away from its "yes".
    """

    names = "phrases"
    num_context: int = 8
    position: Position = "tail"
    yes_weight: float = 0.5
    no_weight: float = 0.5
    apart_weight: float = 0.5
    learning_rates = LearningRates(image_encoder=0, adapter=0, context=2e-3, phrases=0, head=0)
    optimizer = OptimizerSpec("Adam")
    lr_scheduler = SchedulerSpec("CosineAnnealingLR")

    weighs_images: ClassVar[bool] = False
    adjusts_logits: ClassVar[bool] = False

    prompts: YesNoPrompts = field(init=False)

    def check(self) -> None:
        """Refuse rates of what stays as it is, and weights that are negative."""
        super().check()
        for name in ("yes_weight", "no_weight", "apart_weight"):
            check_weight(name, getattr(self, name), "left out")
        moving = [part for part, rate in self.learning_rates.by_part().items() if rate and part != "context"]
        if moving:
            refuse(
                f"learning_rates.{moving[0]} is not 0, but CLIPN learns the context of its no prompts alone; set it "
                "to 0."
            )
        if self.learning_rates.context == 0:
            refuse("learning_rates.context is 0, so that the no prompts would stay random; raise it.")

    @property
    def number_has_gradient(self) -> bool:
        """No: it is zero-shot CLIP's, and never changes."""
        return False

    def build_prompts(self) -> YesNoPrompts:
        """Return the prompts of all classes, and the "no" prompts."""
        return YesNoPrompts(self.clip, self.scale.template, self.words, self.num_context, self.position)

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part: only the context of the "no" prompts is `context`."""
        learned = self.prompts.no_context
        rest = [parameter for parameter in self.prompts.parameters() if parameter is not learned]
        return {**super().parts(), "context": [learned], "phrases": rest}

    def decode_features(self, features: Tensor) -> Output:
        """Return zero-shot CLIP's output.

        Its extras are `no`, the logits (B, K) of the "no" prompts, `on_scale` (B,), and all `prototypes` (2K, D).
        """
        prototypes = self.prototypes()
        yes, no = self.clip.logits(self.adapt(features), prototypes).chunk(2, dim=1)
        extras = {"no": no, "on_scale": agreement(yes, no), "prototypes": prototypes}
        return self.class_output(yes)._replace(extras=extras)

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the "no" prompts."""
        own, no = self.true_class(batch), output.extras["no"]
        return {
            "yes": self.yes_weight * yes_loss(output.logits, no, own),
            "no": self.no_weight * no_loss(output.logits, no, own),
            "apart": self.apart_weight * apart_loss(*output.extras["prototypes"].chunk(2)),
        }
