"""CORAL: one score for the image, and a threshold on it between each two neighbouring values.

Source: Cao, Mirjalili and Raschka, "Rank Consistent Ordinal Regression for Neural Networks with Application to Age
Estimation", Pattern Recognition Letters 2020 (arXiv 1901.07884).
"""

import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.losses import coral_loss, weighted_mean
from numclip_lightning.methods.base import Batch, Output, ThresholdMethod
from numclip_lightning.models.image_heads import CoralHead

__all__ = ["CORAL"]


class CORAL(ThresholdMethod):
    """CORAL, consistent rank logits: the R-1 binary questions share their weights, so that the answers are ordered."""

    def build_head(self) -> CoralHead:
        """Return a score with a bias for each threshold."""
        return CoralHead(self.clip.embed_dim, self.scale.num_ranks)

    def log_beyond(self, logits: Tensor) -> Tensor:
        """Return `log P(y > k)`, the log-sigmoid of each logit."""
        return F.logsigmoid(logits)

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the binary cross-entropies of all thresholds."""
        logits = output.extras["thresholds"]
        return {"thresholds": weighted_mean(coral_loss, batch.get("weight"), logits, batch["rank"])}
