"""Base class of CORAL and CORN: a binary answer for each threshold of the scale, and ranks read from all of them."""

from abc import abstractmethod
from typing import ClassVar, get_args

from torch import Tensor

from numclip_lightning.errors import check_choice, refuse
from numclip_lightning.methods.base.image import ImageMethod
from numclip_lightning.methods.base.many_values import check_number_of_values
from numclip_lightning.methods.base.types import Output
from numclip_lightning.models.thresholds import ThresholdDecode, decode_rank, rank_log_probabilities

__all__ = ["ThresholdMethod"]


class ThresholdMethod(ImageMethod):
    """Base class of the methods that ask for each threshold k, 0..R-2, whether the rank is greater than k.

    Args:
        decode: How the number is read: the `median`, which counts the thresholds that are passed (as published), or the
            `expectation`, which adds up their probabilities.

    Raises:
        ConfigError: If the scale has a single value.
    """

    decode: ThresholdDecode = "median"

    weighs_images: ClassVar[bool] = True

    def check(self) -> None:
        """Refuse an unknown `decode` and a scale without thresholds."""
        super().check()
        check_choice("decode", self.decode, get_args(ThresholdDecode))
        check_number_of_values(type(self).__name__, self.scale)
        if self.scale.num_ranks < 2:
            refuse(
                f"the scale {self.scale.describe()} has a single value, and no threshold to ask about; "
                "raise scale.maximum."
            )

    @property
    def number_has_gradient(self) -> bool:
        """Whether training can move the number: a sum of probabilities, not a count."""
        return self.decode == "expectation"

    @abstractmethod
    def log_beyond(self, logits: Tensor) -> Tensor:
        """Return `log P(y > k)` for the head's logits, both (B, R-1)."""

    def decode_features(self, features: Tensor) -> Output:
        """Return log-probabilities of the ranks, (B, R), values (B,), and the head's logits `thresholds`, (B, R-1)."""
        logits = self.head(features)
        log_beyond = self.log_beyond(logits)
        axis = self.scale.axis
        value = axis.number(axis.minimum + axis.step * decode_rank(log_beyond, self.decode))
        return Output(rank_log_probabilities(log_beyond), value, {"thresholds": logits})
