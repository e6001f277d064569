"""What a method says of images: the types that pass between the shared step, the losses and the command."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["Batch", "Output", "Prediction"]

Batch = dict[str, Tensor]


class Output(NamedTuple):
    """What a method says of a batch of images.

    Attributes:
        logits: (B, K) over levels or (B, R) over ranks: scaled cosine similarities, or any others whose softmax is a
            distribution.
        value: The predicted number in the target's unit, (B,).
        raw: What the method's own losses read besides, such as image features or cumulative logits, (B, ...).
    """

    logits: Tensor
    value: Tensor
    raw: Tensor | None = None


class Prediction(NamedTuple):
    """One batch of predictions, on the device of the model.

    Attributes:
        position: Where each image stands in its dataset, int64 (B,).
        value: The predicted number in the target's unit, (B,).
        level: The most probable level, int64 (B,).
        probabilities: The probability of each level, (B, K).
    """

    position: Tensor
    value: Tensor
    level: Tensor
    probabilities: Tensor
