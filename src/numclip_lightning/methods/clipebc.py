"""CLIP-EBC for whole images: the levels are bins with a fixed number each, and the number is their mean.

Source: Ma et al., "CLIP-EBC: CLIP Can Count Accurately through Enhanced Blockwise Classification", 2024 (arXiv
2403.09281), section 3.
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.errors import check_choice, check_weight
from numclip_lightning.losses import weighted_mean
from numclip_lightning.methods.base import (
    Batch,
    LearningRates,
    OptimizerSpec,
    Output,
    PromptClassifier,
    SchedulerSpec,
)
from numclip_lightning.models.heads import build_decoder, expected_value

__all__ = ["CLIPEBC"]

Anchors = Literal["mean", "middle"]


class CLIPEBC(PromptClassifier):
    """CLIP-EBC at the level of the image: a prompt for each level, and anchors whose mean is the number.

    An ablation of NumCLIP's head: the same coarse levels, but the number of each is fixed and not learned. The bins are
    the levels, in words as their `ranges` ("between 5 and 8 things") or `phrases`, or the values as `numbers`.

    Args:
        anchors: The number of a bin: the `mean` of the training targets in it (its middle if there is none), or its
            `middle`.
        value_weight: The weight of the absolute error of the expected number, in steps of the scale; 0 leaves it out.
    """

    names = "ranges"
    anchors: Anchors = "mean"
    value_weight: float = 1.0
    learning_rates = LearningRates(adapter=0, context=0, phrases=0, head=0, logit_scale=1e-4)
    optimizer = OptimizerSpec("Adam")
    lr_scheduler = SchedulerSpec("CosineAnnealingLR")

    def check(self) -> None:
        """Refuse unknown anchors and a negative weight."""
        super().check()
        check_choice("anchors", self.anchors, get_args(Anchors))
        check_weight("value_weight", self.value_weight, "left out")

    def build(self) -> None:
        """Build zero-shot CLIP and a decoder whose anchors are in checkpoints."""
        super().build()
        self._middles, axis = self.class_values, self.scale.axis
        # The median spreads the probability of a bin over it: an anchor alone would be one of K answers.
        ends = {"lower": axis.lower, "upper": axis.upper} if self.over_levels else {}
        self.decoder = build_decoder(
            self.decode, self._middles.clone(), **ends, saved=True, logarithmic=axis.logarithmic
        )

    def on_fit_start(self) -> None:
        """Compute the anchors from the training targets.

        Raises:
            ConfigError: If there are no targets before training.
        """
        super().on_fit_start()
        if self.anchors == "mean":
            targets = self.training_targets(remedy=", or set anchors=middle")
            self.set_anchors(torch.tensor([target for one in targets for target in one], dtype=torch.float64))

    def set_anchors(self, targets: Tensor) -> None:
        """Set the anchor of each bin to the mean of the targets in it; a bin without any keeps its middle.

        On a logarithmic scale it is the mean of their logarithms.

        Args:
            targets: Training targets (N,).

        Raises:
            ScaleError: If a target is outside the scale.
        """
        anchors = self.class_values
        bins = self.true_class(self.with_levels({"target": targets}))
        count = torch.bincount(bins, minlength=len(anchors))
        total = torch.bincount(bins, weights=self.scale.axis.of(targets.double()), minlength=len(anchors))
        # Not the anchors from before: a fit may be resumed on other images.
        anchors.copy_(torch.where(count > 0, total / count, self._middles.to(total)))

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy over the bins and, if it has a weight, the error of the expected number."""
        losses = super().losses(output, batch)
        if self.value_weight:
            place, true = expected_value(output.logits, self.class_values), self.scale.axis.of(batch["target"])
            error = weighted_mean(F.l1_loss, batch.get("weight"), place, true)
            losses["value"] = self.value_weight * error / self.loss_unit
        return losses
