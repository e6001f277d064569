"""CORAL: one score for the image, and a threshold on it between each two neighbouring values.

Source: Cao, Mirjalili and Raschka, "Rank Consistent Ordinal Regression for Neural Networks with Application to Age
Estimation", Pattern Recognition Letters 2020 (arXiv 1901.07884).
"""

from torch import Tensor
from torch.nn import functional

from numclip_lightning.losses import coral_loss
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.thresholds import CumulativeMethod
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.image_heads import CoralHead
from numclip_lightning.models.thresholds import ThresholdDecode
from numclip_lightning.scale import OrdinalScale

__all__ = ["CORAL"]


class CORAL(CumulativeMethod):
    """CORAL, consistent rank logits: the R-1 binary questions share their weights, so that their answers are ordered.

    Args:
        scale: The ordered scale of the targets, of at least 2 values.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        decode: How the number is read: the `median`, which counts the thresholds that lie behind (as published), or the
            `expectation`, which adds up their chances.
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
        decode: ThresholdDecode = "median",
        learning_rates: LearningRates = LearningRates(adapter=0, context=0, phrases=0, head=1e-2),
        optimizer: OptimizerSpec = OptimizerSpec(),
        lr_scheduler: SchedulerSpec | None = SchedulerSpec(),
        tolerance: float = 5.0,
    ) -> None:
        super().__init__(scale, backbone, pretrained, decode, learning_rates, optimizer, lr_scheduler, tolerance)
        self.head = CoralHead(self.clip.embed_dim, self.scale.num_ranks)
        self.freeze_parts()

    def log_beyond(self, logits: Tensor) -> Tensor:
        """Return `log P(y > k)`, each logit being of that."""
        return functional.logsigmoid(logits)

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the binary cross-entropies of all thresholds."""
        assert output.raw is not None  # as `read` gives it
        return {"thresholds": coral_loss(output.raw, batch["rank"])}
