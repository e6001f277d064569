"""Labels that are softened by their distance from the true class, with a softness that may fall in the training."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.errors import refuse
from numclip_lightning.losses import Distance, soft_labels, weighted_mean
from numclip_lightning.methods.base.classes import ClassesMethod
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.precision import at_least_float32

__all__ = ["Falling", "SoftenedMethod"]

# Rows of labels at a time: a table of ten thousand classes would take gigabytes.
_CLASSES = 1024


@dataclass(frozen=True)
class Falling:
    """A temperature that falls (or rises) by the same factor from each epoch to the next.

    Args:
        start: That of the first epoch, greater than 0.
        end: That of the last one.

    Raises:
        ConfigError: If one is no positive number.
    """

    start: float = 2.0
    end: float = 0.5

    def __post_init__(self) -> None:
        """Check both."""
        for name, value in (("start", self.start), ("end", self.end)):
            if not 0 < value < float("inf"):
                refuse(f"temperature.{name} is {value}; give a number greater than 0, such as 1.")

    def at(self, epoch: int, epochs: int) -> float:
        """Return the temperature of an epoch, from 0 on, of so many.

        Example:
            >>> [Falling(4, 1).at(epoch, 3) for epoch in range(3)]
            [4.0, 2.0, 1.0]
        """
        passed = min(1.0, epoch / max(1, epochs - 1))
        return float(self.start * (self.end / self.start) ** passed)


class SoftenedMethod(ClassesMethod):
    """Base class of the methods with soft labels; a mixin, as `ClassesMethod` is.

    Args:
        distance: How a label falls with its distance from the true class, in steps of the scale (or levels): by the
            `absolute` or the `squared` one.
        temperature: How soft the labels are, greater than 0: a number, or one that falls over the epochs
            (`{start: 2, end: 0.5}`). None leaves them hard.

    """

    distance: Distance = "absolute"
    temperature: float | Falling | None = None
    softness: float = field(init=False)

    def build(self) -> None:
        """Set the softness of the labels, which is that of the first epoch."""
        self.softness = self._softness(0, 1)
        # Refuses a temperature that can't be one before anything is built.
        soft_labels(1, self.distance, self.softness)
        super().build()

    @property
    def labels(self) -> Tensor:
        """The soft label of each class, a row each, (C, C); losses take the rows of their images alone."""
        return soft_labels(self.num_classes, self.distance, self.softness).to(self.device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Soften the labels as the step's epoch has them, also in a fit that is resumed within it."""
        super().on_train_batch_start(batch, batch_idx)
        if isinstance(self.temperature, Falling):
            self.softness = self._softness(self.current_epoch, self.training_length("epoch"))

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy with the labels; its least value is the entropy of soft ones, not 0."""
        if self.temperature is None:
            return super().losses(output, batch)
        logits = at_least_float32(self.adjusted(output.logits))
        wanted = self.wanted(batch, logits)
        # Of votes: the mean over them of the labels that each has.
        labels = self._mean_labels(wanted) if wanted.is_floating_point() else self._labels_of(wanted)
        labels = labels.to(logits.dtype)
        return {"soft_labels": weighted_mean(F.cross_entropy, batch.get("weight"), logits, labels)}

    def _labels_of(self, index: Tensor) -> Tensor:
        return soft_labels(self.num_classes, self.distance, self.softness, index)

    def _mean_labels(self, shares: Tensor) -> Tensor:
        """Return the mean of the labels of votes, (B, C), a part of the classes at a time."""
        parts = torch.split(torch.arange(self.num_classes, device=shares.device), _CLASSES)
        return torch.stack([shares[:, part] @ self._labels_of(part).to(shares.dtype) for part in parts]).sum(dim=0)

    def _softness(self, epoch: int, epochs: int) -> float:
        if isinstance(self.temperature, Falling):
            return self.temperature.at(epoch, epochs)
        return 1.0 if self.temperature is None else self.temperature
