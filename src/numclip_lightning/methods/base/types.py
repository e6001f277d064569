"""Types that pass between the shared steps, the losses and the command line."""

from typing import Literal, NamedTuple, Protocol, Self

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
        more: What a `Reader` has read besides, by name, each (B, ...).
    """

    index: Tensor  # type: ignore[assignment]  # hides `tuple.index`
    value: Tensor
    level: Tensor
    probabilities: Tensor
    more: dict[str, Tensor] = {}  # noqa: RUF012 (a named tuple; nobody writes to it)

    def of_rows(self, rows: Tensor) -> Self:
        """Return the predictions of some of the images: a mask, bool (B,), or their places, int64."""
        more = {name: tensor[rows] for name, tensor in self.more.items()}
        return self._replace(
            index=self.index[rows], value=self.value[rows], level=self.level[rows],
            probabilities=self.probabilities[rows], more=more,
        )  # fmt: skip


class Reader(Protocol):
    """Reads more of the images that are tested or predicted, such as whether they are on the scale."""

    def __call__(self, features: Tensor, output: Output) -> dict[str, Tensor]:
        """Return tensors (B, ...) by name, for the features of the image tower (B, ...) and the method's output."""
