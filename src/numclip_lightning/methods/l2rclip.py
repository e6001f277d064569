"""L2RCLIP: rank prompts ordered by a transformer first, then the image tower drawn to them; as far as published.

Source: Wang et al., "Learning-to-Rank Meets Language: Boosting Language-Driven Ordering Alignment for Ordinal
Classification", NeurIPS 2023 (arXiv 2306.13856). Its authors published the losses and the solver, and no model: losses
and stages are as coded, the sizes of the RankFormer are ours.
"""

import math
from collections.abc import Iterable
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from numclip_lightning.errors import check_weight, refuse
from numclip_lightning.losses import image_order, prompt_order
from numclip_lightning.methods.base import (
    Batch,
    ContextMethod,
    LearningRates,
    OptimizerSpec,
    Output,
    PromptClassifier,
    SchedulerSpec,
)
from numclip_lightning.models.rankformer import OrderedPrompts

__all__ = ["L2RCLIP"]

Phase = Literal["prompts", "images"]


class L2RCLIP(ContextMethod[OrderedPrompts], PromptClassifier):
    """L2RCLIP in one fit: the prompts are trained first, against images as they are; then the image tower, alone.

    In either phase the resting part does not change, nor do its optimiser's averages. It costs next to nothing: the
    image tower keeps no graph in the first phase, and the text tower runs once an evaluation in the second. A phase
    whose parts are all frozen by their rates is left out. Resting parts get gradients of zero, so that several
    processes need no `find_unused_parameters`.

    Args:
        num_layers: Layers of the RankFormer.
        blend: The share of the RankFormer's output in the words of a class, over 0 and up to 1.
        prompt_share: The share of the steps that train the prompts, in 0..1, both excluded.
        order_weight: The weight of the ordering loss beside the cross-entropy; 0 leaves it out.
        learning_rates: The learning rate of each part, `head` being the RankFormer; 0 freezes it.
        lr_scheduler: The schedule over both phases, or None for constant rates.
    """

    num_layers: int = 1
    blend: float = 0.5
    prompt_share: float = 0.5
    order_weight: float = 1.0
    learning_rates = LearningRates(adapter=0, phrases=0, context=1e-3, head=1e-3)
    optimizer = OptimizerSpec("AdamW")
    lr_scheduler = SchedulerSpec("CosineAnnealingLR")

    def check(self) -> None:
        """Refuse a negative weight and a share that leaves no step for a phase."""
        super().check()
        check_weight("order_weight", self.order_weight, "left out")
        if not 0 < self.prompt_share < 1:
            refuse(
                f"prompt_share={self.prompt_share} must be between 0 and 1, both excluded; to leave a stage out, set "
                "the learning rates of what it trains to 0."
            )

    def build(self) -> None:
        """Build CLIP and ordered prompts; begin with the prompts."""
        super().build()
        self._phase: Phase = "prompts"
        self._first_image_step: float = 0

    def build_prompts(self) -> OrderedPrompts:
        """Return one prompt for each class, whose words pass the RankFormer."""
        return OrderedPrompts(
            self.clip,
            self.scale.template,
            self.words,
            self.num_context,
            self.position,
            self.num_layers,
            self.blend,
        )

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        return {
            **super().parts(),
            "phrases": [self.prompts.phrases],
            "head": self.prompts.rankformer.parameters(),
        }

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; the image tower stays in evaluation while the prompts are trained."""
        super().train(mode)
        if self._phase == "prompts":
            self.clip.visual.eval()
        return self

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the phase: a later validation reports its ordering loss."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["l2rclip_stage"] = self._phase

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue in the phase of the checkpoint."""
        super().on_load_checkpoint(checkpoint)
        self._phase = checkpoint.get("l2rclip_stage", "prompts")
        self.train(self.training)  # the image tower too, in its phase

    def on_train_start(self) -> None:
        """Plan the phases; a training that is resumed in the second stays there, however long it is now."""
        super().on_train_start()
        if self.trainer.global_step == 0:
            self._phase = "prompts"
            self.train(self.training)
        if not self._learning("images"):
            self._first_image_step = math.inf
        elif self._learning("prompts"):
            self._first_image_step = round(self.prompt_share * self.training_length("step"))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Enter the second phase at its first step; in it, the prototypes stay as they are."""
        super().on_train_batch_start(batch, batch_idx)
        if self._phase == "prompts" and self.global_step >= self._first_image_step:
            self._phase = "images"
            self.train()

    def words_move(self) -> bool:
        """Return whether training steps change the prototypes, as in the first phase."""
        return self._phase == "prompts" and super().words_move()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch, which also gives every resting parameter a gradient of zero."""
        loss = super().training_step(batch, batch_idx)
        for parameter in self._resting():
            loss = loss + 0 * parameter.sum()
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Remove the gradients of resting parts: with zeros, decay and momentum would still change them."""
        for parameter in self._resting():
            parameter.grad = None

    def _learning(self, phase: Phase) -> list[nn.Parameter]:
        """Return the parameters that a phase trains, as far as the rates allow; the temperature goes with images."""
        images = ("image_encoder", "logit_scale")
        return [
            parameter
            for part, parameters in self.parts().items()
            if (part in images) == (phase == "images")
            for parameter in parameters
            if parameter.requires_grad
        ]

    def _resting(self) -> list[nn.Parameter]:
        return self._learning("images" if self._phase == "prompts" else "prompts")

    def encode_look(self, images: Tensor) -> Tensor:
        """Return the features of normalised images, (B, D), without a graph while the image tower rests."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._phase == "images"):
            return super().encode_look(images)

    def decode_features(self, features: Tensor) -> Output:
        """Return similarities, values (B,), and the `features` (B, D) and `prototypes` (K, D) that are compared."""
        compared, prototypes = self.adapt(features), self.prototypes()
        logits = self.clip.logits(compared, prototypes)
        return Output(logits, self.decoder(logits), {"features": compared, "prototypes": prototypes})

    @property
    def contrast(self) -> str:
        """What of the loss contrasts the images of a batch."""
        return "order_weight" if self.order_weight else super().contrast

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy and, if it has a weight, the ordering loss of the phase."""
        losses = super().losses(output, batch)
        if self.order_weight:
            order = prompt_order if self._phase == "prompts" else image_order
            compared, prototypes = output.extras["features"], output.extras["prototypes"]
            loss = order(compared, prototypes, self.true_class(batch), self.class_values)
            losses["order"] = self.order_weight * loss
        return losses
