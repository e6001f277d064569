"""Types that pass between the shared steps, the losses and the command line."""

from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["Batch", "Output", "Prediction", "Reader", "Split"]

Batch = dict[str, Tensor]
# Splits that have targets. `data/` has a literal of the same name, which also knows `predict`; neither room imports the
# other.
Split = Literal["train", "val", "test"]


class Output(NamedTuple):
    """Output of a method for a batch of images.

    Attributes:
        logits: (B, K) over levels or (B, R) over ranks: scaled cosine similarities, or any others whose softmax is a
            distribution.
        value: The predicted number in the target's unit, (B,).
        extras: Tensors by name that the method's own losses read, such as image features or threshold logits.
    """

    logits: Tensor
    value: Tensor
    extras: dict[str, Tensor] = {}  # noqa: RUF012 (a named tuple; nobody writes to it)


class Prediction(NamedTuple):
    """One batch of predictions, on the device of the model.

    Attributes:
        index: Index of each image in its dataset, int64 (B,).
        value: The predicted number in the target's unit, (B,).
        level: The most probable level, int64 (B,).
        probabilities: The probability of each level, (B, K).
        spread: The standard deviation of each predicted distribution, in the target's unit, (B,); NaN where the method
            predicts the number alone.
        read: What a `Reader` has read besides, (B, M); M is 0 without one.
        quantiles: Quantiles of the distribution over values, (B, S), in the target's unit; S is 0 where it is one over
            levels, or none.
    """

    index: Tensor  # type: ignore[assignment]  # hides `tuple.index`
    value: Tensor
    level: Tensor
    probabilities: Tensor
    spread: Tensor
    read: Tensor = torch.zeros(0, 0)
    quantiles: Tensor = torch.zeros(0, 0)


class Reader(Protocol):
    """Reads more of the images that are tested or predicted, such as whether they are on the scale."""

    def __call__(self, features: Tensor, output: Output) -> Tensor:
        """Return M numbers of each image, (B, M): of the image tower's features (B, ...) and the method's output."""
        ...
