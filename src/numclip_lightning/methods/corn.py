"""CORN: conditional questions, each asked of the images that passed the one before.

Source: Shi, Cao and Raschka, "Deep Neural Networks for Rank-Consistent Ordinal Regression Based on Conditional
Probabilities", Pattern Analysis and Applications 2023 (arXiv 2111.08851).
"""

import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.losses import corn_loss
from numclip_lightning.methods.base import Batch, Output, ThresholdMethod
from numclip_lightning.models.image_heads import LinearHead

__all__ = ["CORN"]


class CORN(ThresholdMethod):
    """CORN: `P(y > k) = prod_{j<=k} P(y > j | y > j-1)`, ordered by the chain rule, each question with own weights."""

    def build_head(self) -> LinearHead:
        """Return a linear layer with an output for each threshold."""
        return LinearHead(self.clip.embed_dim, self.scale.num_ranks - 1)

    def log_beyond(self, logits: Tensor) -> Tensor:
        """Return `log P(y > k)`, the sum of the conditional ones up to k."""
        return F.logsigmoid(logits).cumsum(dim=1)

    @property
    def contrast(self) -> str:
        """The loss is a mean over the questions that the images of a batch reach together."""
        return "the loss"

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the binary cross-entropy of the questions that the images reach."""
        return {"thresholds": corn_loss(output.extras["thresholds"], batch["rank"], batch.get("weight"))}
