"""What CORAL and CORN share: a binary answer for each threshold of the scale, and ranks read from all of them."""

from abc import abstractmethod
from typing import get_args

from torch import Tensor

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.methods.base.image import ImageMethod
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.types import Output
from numclip_lightning.models.thresholds import ThresholdDecode, decode_rank, rank_log_probabilities
from numclip_lightning.scale import OrdinalScale

__all__ = ["CumulativeMethod"]


class CumulativeMethod(ImageMethod):
    """Base of the methods that ask of each threshold k, 0..R-2, whether the rank lies beyond it.

    Args:
        scale: The ordered scale of the targets, of at least 2 values.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        decode: How the number is read: the `median`, or the `expectation`.
        learning_rates: The learning rate of each part; 0 freezes it.
        optimizer: The optimiser.
        lr_scheduler: The schedule, or None for constant rates.
        tolerance: The k of the cumulative score CS@k, in the target's unit.

    Raises:
        ConfigError: If the scale has a single value, or `decode` is unknown.
    """

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str,
        pretrained: str | None,
        decode: ThresholdDecode,
        learning_rates: LearningRates,
        optimizer: OptimizerSpec,
        lr_scheduler: SchedulerSpec | None,
        tolerance: float,
    ) -> None:
        check_choice("decode", decode, get_args(ThresholdDecode))
        super().__init__(scale, backbone, pretrained, learning_rates, optimizer, lr_scheduler, tolerance)
        if self.scale.num_ranks < 2:
            raise ConfigError(
                f"the scale {self.scale.describe()} has a single value, and no threshold to ask about; "
                "raise scale.maximum."
            )
        self.decode = decode

    @abstractmethod
    def log_beyond(self, logits: Tensor) -> Tensor:
        """Return `log P(y > k)` for the head's logits, both (B, R-1)."""

    def read(self, features: Tensor) -> Output:
        """Return log-probabilities of the ranks, (B, R), values (B,), and the head's logits, (B, R-1)."""
        logits = self.head(features)
        log_beyond = self.log_beyond(logits)
        steps = decode_rank(log_beyond, self.decode)
        return Output(rank_log_probabilities(log_beyond), self.scale.minimum + self.scale.step * steps, logits)
