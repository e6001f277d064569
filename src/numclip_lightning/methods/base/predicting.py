"""From a batch of images, or of their features, to predictions."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.methods.base.types import Batch, Output, Prediction, Reader
from numclip_lightning.models.tuning import with_cache
from numclip_lightning.scale import OrdinalScale
from numclip_lightning.scale.spread import SHARES, quantiles_of, spread_of

__all__ = ["PredictingSteps"]

# The name of what the reader has read, among the output's extras.
_READ = "read"


class PredictingSteps(L.LightningModule, ABC):
    """Lightning module that predicts; `OrdinalSteps` adds losses and metrics.

    Attributes:
        scale: The ordered scale of the targets.
        level_borders: Its `borders`, on the device of the method; a buffer, (K-1,).
        reader: What is read of tested and predicted images besides their number; None for nothing.
        shares: The shares of probability whose quantiles predictions have.
    """

    scale: OrdinalScale
    level_borders: Tensor
    reader: Reader | None = None
    shares: Sequence[float] = SHARES

    @abstractmethod
    def encode_images(self, images: Tensor) -> Tensor:
        """Encode normalised images (B, 3, H, W) with the image tower; returns unnormalised features (B, ...)."""

    @abstractmethod
    def decode_features(self, features: Tensor) -> Output:
        """Return logits and values (B,) for the features of `encode_images`, (B, ...)."""

    def forward(self, images: Tensor) -> Output:
        """Return logits and values (B,) for normalised images (B, 3, H, W)."""
        return self.decode_features(self.encode_images(images))

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        """Predict one batch, with or without targets."""
        return self._predict(batch, self._output(batch))

    def one_hot_output(self, value: Tensor, extras: dict[str, Tensor] | None = None) -> Output:
        """Return the output of a method that predicts only the number: the level of the nearest value is certain.

        Args:
            value: The predicted number in the target's unit, (B,).
            extras: As in `Output`.
        """
        level = torch.bucketize(value.detach().double(), self.level_borders, right=True)
        return Output(F.one_hot(level, self.scale.num_levels).float().log(), value, extras or {})

    def _output(self, batch: Batch) -> Output:
        """Return the output for a batch of images, or of features that were computed before."""
        with with_cache():
            return self._read_batch(batch)

    def _read_batch(self, batch: Batch) -> Output:
        if "features" not in batch and self.reader is None:
            output: Output = self(batch["image"])
            return output
        features = batch["features"] if "features" in batch else self.encode_images(batch["image"])
        output = self.decode_features(features)
        if self.reader is None:
            return output
        read = self.reader(features, output).to(output.value.device)
        return output._replace(extras={**output.extras, _READ: read})

    def _predict(self, batch: Batch, output: Output) -> Prediction:
        probabilities = self._probabilities(output)
        spread = spread_of(output.logits.detach(), self.scale)
        read = output.extras.get(_READ, output.value.new_zeros(len(output.value), 0))
        quantiles = quantiles_of(output.logits.detach(), self.scale, self.shares)
        level = probabilities.argmax(dim=-1)
        return Prediction(batch["index"], output.value, level, probabilities, spread, read, quantiles)

    def _probabilities(self, output: Output) -> Tensor:
        """Return the probability of each level, (B, K), also if logits are over ranks."""
        over_levels = output.logits.shape[1] == self.scale.num_levels
        logits = output.logits if over_levels else self.scale.pool_ranks(output.logits)
        return logits.float().softmax(dim=-1)
