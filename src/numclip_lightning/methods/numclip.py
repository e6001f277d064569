"""NumCLIP: coarse phrases first, then the number, trained with cross-modal ranking losses.

Source: Du et al., "Teach CLIP to Develop a Number Sense for Ordinal Regression", ECCV 2024.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError, check_choice, check_weight
from numclip_lightning.losses import Weighting, fcrc_image_to_text, fcrc_text_to_image
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec, as_spec
from numclip_lightning.methods.base.prompted import PromptedMethod
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.adapters import ResidualAdapter
from numclip_lightning.models.heads import ExpectationHead
from numclip_lightning.models.learned_heads import HeadKind, build_head
from numclip_lightning.models.prompts import ConceptPrompts, Position
from numclip_lightning.scale import OrdinalScale

__all__ = ["LossWeights", "NumCLIP"]

Reading = Literal["head", "expectation"]


@dataclass(frozen=True)
class LossWeights:
    """The weight of each part of NumCLIP's loss; 0 leaves the part out.

    Args:
        image_to_text: The ranking loss of each image over the phrases.
        text_to_image: The ranking loss of each phrase over the images of the batch.
        value: The absolute error of the predicted number, in steps of the scale.
    """

    image_to_text: float = 1.0
    text_to_image: float = 1.0
    value: float = 1.0

    def __post_init__(self) -> None:
        """Check every weight."""
        weights = asdict(self)
        for name, weight in weights.items():
            check_weight(f"loss_weights.{name}", weight, "left out")
        if not any(weights.values()):
            raise ConfigError("loss_weights are all 0; leave at least one part of the loss.")


class NumCLIP(PromptedMethod[ConceptPrompts]):
    """NumCLIP, the two-step method this project exists for.

    Image features pass the residual adapter and meet one prototype for each level; the similarities are the logits. A
    head turns logits into a number. Trained with FCRC in both directions (fine-grained cross-modal ranking contrast)
    and the absolute error of the number.

    Args:
        scale: The ordered scale: range, phrases and the template around them.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"` for the weights in a `local-dir` folder, or None for
            random weights.
        num_context: None to start the context from the template's words; a number to learn that many context tokens
            from random ones in their stead.
        position: Where the phrase stands among random context tokens.
        adapter_ratio: The share of the adapter's output in the image feature, 0..1.
        adapter_reduction: By how much the adapter narrows; None builds no adapter.
        decode: Where the number is read: from the fine `head`, or as the `expectation` of the levels' centres, which
            suits scales whose levels are their values. The head is trained along with either, as published.
        head: The fine head: `bounded` shifts the centre of each level within a bound; `published` scales its lower edge
            by 1 / (1 + delta), with the faults that follow (see `PublishedHead`).
        weighting: What the ranking weights multiply: the `logits` (published code), the `similarities` (the paper's
            formula) or `none` (plain contrast).
        loss_weights: The weight of each part of the loss.
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
        num_context: int | None = None,
        position: Position = "tail",
        adapter_ratio: float = 0.8,
        adapter_reduction: int | None = 4,
        decode: Reading = "head",
        head: HeadKind = "bounded",
        weighting: Weighting = "logits",
        loss_weights: LossWeights = LossWeights(),
        learning_rates: LearningRates = LearningRates(),
        optimizer: OptimizerSpec = OptimizerSpec(),
        lr_scheduler: SchedulerSpec | None = SchedulerSpec(),
        tolerance: float = 5.0,
    ) -> None:
        super().__init__(scale, backbone, pretrained, learning_rates, optimizer, lr_scheduler, tolerance)
        self.loss_weights = as_spec(LossWeights, loss_weights)
        self.save_hyperparameters({"loss_weights": asdict(self.loss_weights)}, logger=False)
        check_choice("weighting", weighting, get_args(Weighting))
        check_choice("decode", decode, get_args(Reading))
        self.weighting = weighting
        self.prompts = ConceptPrompts(self.clip, self.scale.template, self.scale.phrases, num_context, position)
        self.adapter = (
            None
            if adapter_reduction is None
            else ResidualAdapter(self.clip.embed_dim, adapter_reduction, adapter_ratio)
        )
        # In steps from the minimum, as the published labels count from 0: decades and scores train alike.
        lower, upper, centers = (
            (edge - self.scale.minimum) / self.scale.step
            for edge in (self.scale.lower, self.scale.upper, self.scale.centers)
        )
        self.head = build_head(head, lower, upper, centers) if self._needs_head(decode) else None
        self.decode = decode
        self.decoder = ExpectationHead(self.scale.centers)
        self.freeze_parts()

    def _needs_head(self, decode: Reading) -> bool:
        """Tell whether a head is read or trained; a trained part that no loss reaches would break training."""
        trained = self.loss_weights.value > 0
        if decode == "head" and not trained and self.learning_rates.head > 0:
            raise ConfigError(
                "loss_weights.value is 0, so that nothing trains the head that the number is read from; set "
                "decode=expectation, or learning_rates.head=0 to keep the head as it starts."
            )
        return trained or decode == "head"

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        adapter = self.adapter.parameters() if self.adapter else []
        return {
            **super().parts(),
            "phrases": [self.prompts.phrases],
            "adapter": adapter,
            "head": self.head.parameters() if self.head else [],
        }

    def adapt(self, features: Tensor) -> Tensor:
        """Return the adapted image features of length one, (B, D)."""
        return self.adapter(features) if self.adapter else super().adapt(features)

    def read(self, features: Tensor) -> Output:
        """Return logits over the levels, (B, K), and values (B,)."""
        logits = self.compare(features)
        return Output(logits, self.decoder(logits) if self.decode == "expectation" else self._fine_value(logits))

    def _fine_value(self, logits: Tensor) -> Tensor:
        assert self.head is not None  # built wherever it is read, see `_needs_head`
        steps: Tensor = self.head(logits)
        return self.scale.minimum + self.scale.step * steps

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted parts of the loss, scalars by name; the loss is their sum."""
        weights, level = self.loss_weights, batch["level"]
        losses = {}
        if weights.image_to_text:
            losses["image_to_text"] = weights.image_to_text * fcrc_image_to_text(output.logits, level, self.weighting)
        if weights.text_to_image:
            losses["text_to_image"] = weights.text_to_image * fcrc_text_to_image(output.logits, level, self.weighting)
        if weights.value:
            error = F.l1_loss(self._fine_value(output.logits), batch["target"])
            losses["value"] = weights.value * error / self.scale.step
        return losses
