"""CLIP-DR: prompts of grades, each image nearer to the prompts that are nearer to its grade.

Source: Yu et al., "CLIP-DR: Textual Knowledge-Guided Diabetic Retinopathy Grading with Ranking-aware Prompting",
MICCAI 2024 (arXiv 2407.04068).
"""

from typing import ClassVar

from torch import Tensor

from numclip_lightning.errors import check_weight
from numclip_lightning.losses import neighbour_order, weighted_mean
from numclip_lightning.methods.base import Batch, LearningRates, OptimizerSpec, Output, SchedulerSpec
from numclip_lightning.methods.coop import CoOp

__all__ = ["CLIPDR"]


class CLIPDR(CoOp):
    """Cross-entropy and KL over prompts with a learned context, and a loss of order between neighbouring grades.

    Args:
        neighbours: The weight of the loss of order; 0 leaves it out.
    """

    names = "phrases"
    num_context = 10
    text_to_image = 1.0
    neighbours: float = 1.0
    learning_rates = LearningRates(adapter=0, phrases=0, head=0)
    optimizer = OptimizerSpec("RAdam")
    lr_scheduler = SchedulerSpec()

    # Its neighbours are of one level.
    reads_raters: ClassVar[bool] = False

    def check(self) -> None:
        """Refuse a negative weight."""
        super().check()
        check_weight("neighbours", self.neighbours, "left out")

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return cross-entropy, KL term and, if it has a weight, the loss of order."""
        losses = super().losses(output, batch)
        if self.neighbours:
            order = weighted_mean(neighbour_order, batch.get("weight"), output.logits, self.true_class(batch))
            losses["neighbours"] = self.neighbours * order
        return losses
