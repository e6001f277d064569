"""Mean-variance loss: cross-entropy, and a distribution that is centred on the true value and narrow.

Source: Pan et al., "Mean-Variance Loss for Deep Age Estimation from a Face", CVPR 2018.
"""

from torch import Tensor

from numclip_lightning.errors import check_weight
from numclip_lightning.losses import mean_loss, variance_loss
from numclip_lightning.methods.base.classifier import ImageClassifier
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.heads import Decode
from numclip_lightning.models.image_heads import LinearHead
from numclip_lightning.scale import OrdinalScale

__all__ = ["MeanVariance"]


class MeanVariance(ImageClassifier):
    """A linear classifier over the values of the scale, whose mean and variance are trained besides.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        mean: The weight of half the squared error of the expected value, in steps of the scale; 0 leaves it out.
        variance: The weight of the distribution's variance, in squared steps; 0 leaves it out.
        decode: How the number is read: `expectation`, or of the most probable value (`argmax`).
        learning_rates: The learning rate of each part; 0 freezes it.
        optimizer: The optimiser.
        lr_scheduler: The schedule, or None for constant rates.
        tolerance: The k of the cumulative score CS@k, in the target's unit.

    Raises:
        ConfigError: If an argument is unknown or out of range; ScaleError and BackboneError are kinds of it.
    """

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str = "ViT-B-16-quickgelu",
        pretrained: str | None = "openai",
        mean: float = 0.2,
        variance: float = 0.05,
        decode: Decode = "expectation",
        learning_rates: LearningRates = LearningRates(adapter=0, context=0, phrases=0, head=1e-2),
        optimizer: OptimizerSpec = OptimizerSpec(),
        lr_scheduler: SchedulerSpec | None = SchedulerSpec(),
        tolerance: float = 5.0,
    ) -> None:
        check_weight("mean", mean, "left out")
        check_weight("variance", variance, "left out")
        super().__init__(
            scale, backbone, pretrained, "values", decode, learning_rates, optimizer, lr_scheduler, tolerance
        )
        self.mean, self.variance = mean, variance
        self.head = LinearHead(self.clip.embed_dim, self.num_classes)
        self.freeze_parts()

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy and, where they have a weight, the mean and the variance loss."""
        logits, rank = output.logits, self.true_class(batch)
        losses = super().losses(output, batch)
        if self.mean:
            losses["mean"] = self.mean * mean_loss(logits, rank)
        if self.variance:
            losses["variance"] = self.variance * variance_loss(logits, rank)
        return losses
