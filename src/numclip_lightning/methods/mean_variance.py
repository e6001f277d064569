"""Mean-variance loss: cross-entropy, and a distribution that is centred on the true value and narrow.

Source: Pan et al., "Mean-Variance Loss for Deep Age Estimation from a Face", CVPR 2018.
"""

from dataclasses import field

from torch import Tensor

from numclip_lightning.errors import check_weight
from numclip_lightning.losses import mean_loss, variance_loss, weighted_mean
from numclip_lightning.methods.base import Batch, Classes, ImageClassifier, Output
from numclip_lightning.models.image_heads import LinearHead

__all__ = ["MeanVariance"]


class MeanVariance(ImageClassifier):
    """A linear classifier over the values of the scale, which also trains the mean and the variance.

    Args:
        mean: The weight of half the squared error of the expected value, in steps of the scale; 0 leaves it out.
        variance: The weight of the distribution's variance, in squared steps; 0 leaves it out.
    """

    classes: Classes = field(default="values", init=False)
    mean: float = 0.2
    variance: float = 0.05

    def check(self) -> None:
        """Refuse negative weights."""
        super().check()
        check_weight("mean", self.mean, "left out")
        check_weight("variance", self.variance, "left out")

    def build_head(self) -> LinearHead:
        """Return a linear layer with an output for each value."""
        return LinearHead(self.clip.embed_dim, self.num_classes)

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy and, if they have a weight, the mean and the variance loss."""
        logits, rank, weight = output.logits, self.true_class(batch), batch.get("weight")
        losses = super().losses(output, batch)
        if self.mean:
            losses["mean"] = self.mean * weighted_mean(mean_loss, weight, logits, rank)
        if self.variance:
            losses["variance"] = self.variance * weighted_mean(variance_loss, weight, logits, rank)
        return losses
