"""CLIP-EBC for whole images: the levels are bins with a fixed number each, and the number is their mean.

Source: Ma et al., "CLIP-EBC: CLIP Can Count Accurately through Enhanced Blockwise Classification", 2024 (arXiv
2403.09281), section 3.
"""

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.errors import ConfigError, check_choice, check_weight
from numclip_lightning.methods.base.named import NamedMethod, Names
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.heads import Decode, build_decoder, expected_value
from numclip_lightning.models.prompts import ConceptPrompts
from numclip_lightning.scale import OrdinalScale

__all__ = ["CLIPEBC"]

Anchors = Literal["mean", "middle"]


class CLIPEBC(NamedMethod):
    """CLIP-EBC at the level of the image: a prompt for each level, and anchors that the number is the mean of.

    An ablation of NumCLIP's head: the same coarse levels, but what each stands for is fixed and not learned.

    Args:
        scale: The ordered scale of the targets; its levels, or its values, are the bins.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        names: The bins: the levels, told by their `ranges` ("between 5 and 8 things") or `phrases`, or the `numbers`.
        anchors: The number a bin stands for: the `mean` of the training targets in it (its middle where there is none),
            or its `middle`.
        decode: How the number is read: the `expectation` of the anchors, or that of the most probable bin (`argmax`).
        value_weight: The weight of the absolute error of the expected number, in steps of the scale; 0 leaves it out.
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
        names: Names = "ranges",
        anchors: Anchors = "mean",
        decode: Decode = "expectation",
        value_weight: float = 1.0,
        learning_rates: LearningRates = LearningRates(adapter=0, context=0, phrases=0, head=0, logit_scale=1e-4),
        optimizer: OptimizerSpec = OptimizerSpec("Adam"),
        lr_scheduler: SchedulerSpec | None = SchedulerSpec("CosineAnnealingLR"),
        tolerance: float = 5.0,
    ) -> None:
        super().__init__(scale, backbone, pretrained, names, decode, learning_rates, optimizer, lr_scheduler, tolerance)
        check_choice("anchors", anchors, get_args(Anchors))
        check_weight("value_weight", value_weight, "left out")
        self.anchors, self.value_weight = anchors, value_weight
        self._middles = self.decoder.get_buffer("centers")
        self.decoder = build_decoder(decode, self._middles.clone(), saved=True)
        self.prompts = ConceptPrompts(self.clip, self.scale.template, self.words)
        self.freeze_parts()

    def on_fit_start(self) -> None:
        """Find the anchors in the training targets.

        Raises:
            ConfigError: If the targets can't be had before training.
        """
        super().on_fit_start()
        if self.anchors == "middle":
            return
        # Of any datamodule with `labels`: methods know nothing of the data's room.
        labels: Any = getattr(getattr(self.trainer, "datamodule", None), "labels", None)
        if labels is None:
            raise ConfigError(
                "anchors is 'mean', which asks a datamodule for its `labels`; give one that has them, or use 'middle'."
            )
        targets = [target for label in labels("train") for target in label.targets]
        self.set_anchors(torch.tensor(targets, dtype=torch.float64))

    def set_anchors(self, targets: Tensor) -> None:
        """Let each bin stand for the mean of the targets in it; a bin without any keeps its middle.

        Args:
            targets: Training targets (N,).

        Raises:
            ScaleError: If a target lies outside the scale.
        """
        anchors = self.decoder.get_buffer("centers")
        bins = self.true_class({"level": self.scale.to_level(targets), "rank": self.scale.to_rank(targets)})
        count = torch.bincount(bins, minlength=len(anchors))
        total = torch.bincount(bins, weights=targets.double(), minlength=len(anchors))
        # Not what the bin stood for before: a fit may be resumed on other images.
        anchors.copy_(torch.where(count > 0, total / count, self._middles.to(total)))

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy over the bins and, where it has a weight, the error of the expected number."""
        losses = super().losses(output, batch)
        if self.value_weight:
            value = expected_value(output.logits, self.decoder.get_buffer("centers"))
            losses["value"] = self.value_weight * F.l1_loss(value, batch["target"]) / self.scale.step
        return losses
