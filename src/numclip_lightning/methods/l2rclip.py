"""L2RCLIP: rank prompts ordered by a transformer first, then the image tower drawn to them; as far as published.

Source: Wang et al., "Learning-to-Rank Meets Language: Boosting Language-Driven Ordering Alignment for Ordinal
Classification", NeurIPS 2023 (arXiv 2306.13856). Its authors published the losses and the solver, and no model: losses
and stages are as coded, the sizes of the RankFormer are ours.
"""

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from numclip_lightning.errors import ConfigError, check_weight
from numclip_lightning.losses import image_order, prompt_order
from numclip_lightning.methods.base.named import NamedMethod, Names
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.heads import Decode
from numclip_lightning.models.prompts import Position
from numclip_lightning.models.rankformer import OrderedPrompts
from numclip_lightning.scale import OrdinalScale

__all__ = ["L2RCLIP"]

Stage = Literal["prompts", "images"]


class L2RCLIP(NamedMethod):
    """L2RCLIP in one fit: the prompts are trained first, against images as they are; then the image tower, alone.

    In either stage the part that rests doesn't move, nor do its optimiser's averages; it costs next to nothing, as the
    image tower keeps no graph in the first stage and the text tower runs once an evaluation in the second. A stage
    whose parts are all frozen by their rates is left out. Resting parts get gradients of zero, so that several
    processes need no `find_unused_parameters`.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        names: The classes: the `numbers` of the scale, or the `phrases` (which may be numbers in words) or `ranges` of
            its levels.
        num_context: How many random context tokens are learned; None starts from the template's words.
        position: Where the name stands among random context tokens.
        num_layers: Layers of the RankFormer.
        blend: The share of the RankFormer's output in the words of a class, over 0 and up to 1.
        prompt_share: The share of the steps that train the prompts, in 0..1, both excluded.
        order_weight: The weight of the ordering loss beside the cross-entropy; 0 leaves it out.
        decode: How the number is read: `expectation`, or of the most probable class (`argmax`). A level counts as its
            centre.
        learning_rates: The learning rate of each part, `head` being the RankFormer; 0 freezes it.
        optimizer: The optimiser.
        lr_scheduler: The schedule over both stages, or None for constant rates.
        tolerance: The k of the cumulative score CS@k, in the target's unit.

    Raises:
        ConfigError: If the arguments contradict each other; ScaleError and BackboneError are kinds of it.
    """

    prompts: OrderedPrompts

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str = "ViT-B-16-quickgelu",
        pretrained: str | None = "openai",
        names: Names = "numbers",
        num_context: int | None = 10,
        position: Position = "tail",
        num_layers: int = 1,
        blend: float = 0.5,
        prompt_share: float = 0.5,
        order_weight: float = 1.0,
        decode: Decode = "expectation",
        learning_rates: LearningRates = LearningRates(adapter=0, phrases=0, context=1e-3, head=1e-3),
        optimizer: OptimizerSpec = OptimizerSpec("AdamW"),
        lr_scheduler: SchedulerSpec | None = SchedulerSpec("CosineAnnealingLR"),
        tolerance: float = 5.0,
    ) -> None:
        super().__init__(scale, backbone, pretrained, names, decode, learning_rates, optimizer, lr_scheduler, tolerance)
        check_weight("order_weight", order_weight, "left out")
        if not 0 < prompt_share < 1:
            raise ConfigError(
                f"prompt_share={prompt_share} must lie between 0 and 1, both excluded; to leave a stage out, set the "
                "learning rates of what it trains to 0."
            )
        self.prompt_share, self.order_weight = prompt_share, order_weight
        self.prompts = OrderedPrompts(
            self.clip, self.scale.template, self.words, num_context, position, num_layers, blend
        )
        self._stage: Stage = "prompts"
        self._first_image_step: float = 0
        self.freeze_parts()

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        return {**super().parts(), "head": self.prompts.rankformer.parameters()}

    def train(self, mode: bool = True) -> "L2RCLIP":
        """Switch between training and evaluation; the image tower stays in evaluation while the prompts are trained."""
        super().train(mode)
        if self._stage == "prompts":
            self.clip.visual.eval()
        return self

    # The stages.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the stage, whose ordering loss a later validation is to report."""
        checkpoint["l2rclip_stage"] = self._stage

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on in the stage that the checkpoint was written in."""
        self._stage = checkpoint.get("l2rclip_stage", "prompts")
        self.train(self.training)  # the image tower too, where it is its turn

    def on_train_start(self) -> None:
        """Lay out the stages; a training that is resumed in the second stays there, however long it is now."""
        super().on_train_start()
        if self.trainer.global_step == 0:
            self._stage = "prompts"
            self.train(self.training)
        if not self._learning("images"):
            self._first_image_step = math.inf
        elif self._learning("prompts"):
            self._first_image_step = round(self.prompt_share * self._duration("step"))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Enter the second stage where it is time; in it, the prototypes stay as they are."""
        if self._stage == "prompts" and self.global_step >= self._first_image_step:
            self._stage = "images"
            self.train()
        super().on_train_batch_start(batch, batch_idx)

    def _prompts_rest(self) -> bool:
        return self._stage == "images" or super()._prompts_rest()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch, which also gives every resting parameter a gradient of zero."""
        loss = super().training_step(batch, batch_idx)
        for parameter in self._resting():
            loss = loss + 0 * parameter.sum()
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Keep the optimiser from what rests: with a gradient of zero it would still decay and glide on."""
        for parameter in self._resting():
            parameter.grad = None

    def _learning(self, stage: Stage) -> list[nn.Parameter]:
        """Return what a stage trains, as far as the rates allow; the temperature goes with the images."""
        images = ("image_encoder", "logit_scale")
        return [
            parameter
            for part, parameters in self.parts().items()
            if (part in images) == (stage == "images")
            for parameter in parameters
            if parameter.requires_grad
        ]

    def _resting(self) -> list[nn.Parameter]:
        return self._learning("images" if self._stage == "prompts" else "prompts")

    # What is learned.

    def encode_images(self, images: Tensor) -> Tensor:
        """Return the features of normalised images, (B, D), without a graph while the image tower rests."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._stage == "images"):
            return super().encode_images(images)

    def read(self, features: Tensor) -> Output:
        """Return similarities, values (B,) and, as `raw`, image features and prototypes in one, (B + K, D)."""
        compared, prototypes = self.adapt(features), self.prototypes()
        logits = self.clip.logits(compared, prototypes)
        return Output(logits, self.decoder(logits), torch.cat([compared, prototypes]))

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy and, where it has a weight, the ordering loss of the stage."""
        losses = super().losses(output, batch)
        if self.order_weight:
            assert output.raw is not None  # see `read`
            compared, prototypes = torch.split(output.raw, list(output.logits.shape))
            order: Any = prompt_order if self._stage == "prompts" else image_order
            values = self.decoder.get_buffer("centers")
            losses["order"] = self.order_weight * order(compared, prototypes, self.true_class(batch), values)
        return losses
