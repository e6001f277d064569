"""CORN: conditional questions, each asked of the images that passed the one before.

Source: Shi, Cao and Raschka, "Deep Neural Networks for Rank-Consistent Ordinal Regression Based on Conditional
Probabilities", Pattern Analysis and Applications 2023 (arXiv 2111.08851).
"""

from torch import Tensor
from torch.nn import functional

from numclip_lightning.losses import corn_loss
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.thresholds import CumulativeMethod
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.image_heads import LinearHead
from numclip_lightning.models.thresholds import ThresholdDecode
from numclip_lightning.scale import OrdinalScale

__all__ = ["CORN"]


class CORN(CumulativeMethod):
    """CORN: `P(y > k) = prod_{j<=k} P(y > j | y > j-1)`, ordered by the chain rule, each question with its own weights.

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
        self.head = LinearHead(self.clip.embed_dim, self.scale.num_ranks - 1)
        self.freeze_parts()

    def log_beyond(self, logits: Tensor) -> Tensor:
        """Return `log P(y > k)`, the sum of the conditional ones up to k."""
        return functional.logsigmoid(logits).cumsum(dim=1)

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the binary cross-entropy of the questions that the images reach."""
        assert output.raw is not None  # as `read` gives it
        return {"thresholds": corn_loss(output.raw, batch["rank"])}
