"""Shared steps that apply the remedies for few images of some numbers in training."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError, refuse
from numclip_lightning.losses.imbalance import balanced_mse, conr
from numclip_lightning.losses.rarity import log_prior, rank_weights, smoothing_kernel
from numclip_lightning.methods.base.imbalance import ImbalanceSpec
from numclip_lightning.methods.base.many_values import check_number_of_values
from numclip_lightning.methods.base.mixing import MixSpec
from numclip_lightning.methods.base.rates import LearningRates
from numclip_lightning.methods.base.steps import OrdinalSteps
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.feature_smoothing import FeatureSmoothing
from numclip_lightning.models.image_tower import ImageTower

__all__ = ["BalancedSteps"]

_log = logging.getLogger(__name__)

# What a list's column of weights holds.
_COLUMNS = {"propensity": "probabilities over 0 and up to 1", "weight": "numbers above 0"}
# Where weights that a list gives are in a batch, and among the labels.
_GIVEN = {"propensity": ("propensity", "propensity"), "list": ("image_weight", "weight")}


class BalancedSteps(OrdinalSteps):
    """Shared steps that apply an `ImbalanceSpec` in training; `OrdinalMethod` adds construction and optimisers.

    Attributes:
        imbalance: What is switched on.
        feature_smoothing: The statistics of features, if `fds` is on.
    """

    # Whether `losses` gives each image the weight in `batch["weight"]`, and passes class logits through `adjusted`.
    weighs_images: ClassVar[bool] = False
    adjusts_logits: ClassVar[bool] = False

    imbalance: ImbalanceSpec
    learning_rates: LearningRates
    clip: ImageTower
    feature_smoothing: FeatureSmoothing | None

    def check_imbalance(self, mix: MixSpec | None) -> None:
        """Refuse what the method's losses can't do.

        Raises:
            ConfigError: If weights or logit adjustment are asked for and not supported, `fds` meets mixed images, or
                `conr` a frozen tower.
        """
        asked, name = self.imbalance, type(self).__name__
        if asked.weights != "none" and not self.weighs_images:
            refuse(
                f"imbalance.weights is {asked.weights!r}, but the losses of {name} give no image a weight of its own; "
                "set it to none, or draw rare images more often with data.sample_power."
            )
        if asked.logit_adjustment and not self.adjusts_logits:
            refuse(
                f"imbalance.logit_adjustment is {asked.logit_adjustment}, but {name} is not trained by the "
                "cross-entropy of its classes alone; set it to 0."
            )
        if asked.balanced_mse and not self.number_has_gradient:
            self._refuse_balanced_mse()
        if asked.fds:
            check_number_of_values(f"{name} with imbalance.fds", self.scale, most=2000)
        if asked.fds and mix:
            refuse("imbalance.fds needs the one rank of each image, which mixed images lack; set mix=null.")
        if asked.conr and not self.learning_rates.image_encoder:
            refuse(
                "imbalance.conr is for an image tower that is trained, and it is frozen; raise "
                "learning_rates.image_encoder, or leave imbalance.conr out."
            )

    @property
    def number_has_gradient(self) -> bool:
        """Whether training can move the number that is read; it can't where classes or thresholds are counted."""
        return True

    def _refuse_balanced_mse(self) -> None:
        decode = getattr(self, "decode", "expectation")
        remedy = "" if decode == "expectation" else " set decode to expectation, or"
        refuse(
            f"imbalance.balanced_mse needs a number that training can move, but {type(self).__name__} reads it without "
            f"a gradient;{remedy} leave imbalance.balanced_mse out."
        )

    def build_smoothing(self) -> None:
        """Build the statistics of features, if `fds` asks for it; the CLIP is built."""
        asked = self.imbalance
        self.feature_smoothing = None
        if asked.fds:
            kernel = smoothing_kernel(self.scale.num_ranks, asked.kernel_size, asked.kernel_sigma)
            self.feature_smoothing = FeatureSmoothing(kernel, self.clip.embed_dim)

    @abstractmethod
    def training_targets(self, remedy: str = "") -> list[tuple[float, ...]]:
        """Return the targets of each training image, see `OrdinalMethod`."""

    def on_fit_start(self) -> None:
        """Count the training images of each rank and level, if anything needs to know.

        Raises:
            ConfigError: If there are no training targets before training, or a list lacks weights or propensities.
        """
        super().on_fit_start()
        asked = self.imbalance
        if len(found := self.frequency_remedies()) > 1:
            _log.warning(
                "imbalance: %s each give rare numbers more weight, and count twice together; keep one of them "
                "(docs/imbalance.md)",
                " and ".join(found),
            )
        self._rank_weights: Tensor | None = None
        self._log_priors: dict[int, Tensor] = {}
        smoothing = {"size": asked.kernel_size, "sigma": asked.kernel_sigma}
        if asked.weights == "propensity":
            self._least_propensity = 1 / asked.clip
            self._mean_inverse = self._count_propensities()
        elif asked.weights == "list":
            self._mean_listed = self._mean_weight()
        elif asked.weights != "none":
            counts = self.rank_counts()
            weights = rank_weights(counts, asked.weights, asked.clip, **smoothing)  # type: ignore[arg-type]
            self._report(weights.repeat_interleave(counts.round().long()))
            self._rank_weights = weights.float().to(self.device)
        if asked.logit_adjustment:
            for counts in (self.level_counts(), self.rank_counts()):
                prior = log_prior(counts, asked.smooth_prior, **smoothing)  # type: ignore[arg-type]
                self._log_priors[len(counts)] = prior.float().to(self.device)

    def frequency_remedies(self) -> list[str]:
        """Return the names of what lets rare numbers count in this fit for more than their share of the images."""
        asked, data = self.imbalance, getattr(self.trainer, "datamodule", None)
        found = {
            "imbalance.weights": asked.weights != "none",
            "imbalance.logit_adjustment": asked.logit_adjustment,
            "data.sample_power": getattr(data, "sample_power", 0),
            "data.oversample": getattr(data, "oversample", None),
        }
        return [name for name, is_asked in found.items() if is_asked]

    def weights_of(self, labels: Sequence[Any], index: Tensor, target: Tensor) -> Tensor:
        """Return what the losses of training images count, (N,), as `imbalance.weights` asks for it.

        Args:
            labels: What is known of each training image, synthetic ones too.
            index: The place of each image among them, int64 (N,).
            target: Its number, (N,).
        """
        batch = {"rank": self.scale.to_rank(target.cpu()).to(self.device)}
        if self.imbalance.weights in _GIVEN:
            key, name = _GIVEN[self.imbalance.weights]
            batch[key] = torch.tensor([getattr(labels[place], name) for place in index.tolist()])
        return self._weights_of(batch)

    def rank_counts(self) -> Tensor:
        """Return the number of training images of each rank, float64 (R,); several targets share their image.

        Raises:
            ConfigError: If the trainer has no datamodule with labels.
            ScaleError: If a target is outside the scale.
        """
        several = self.training_targets()
        ranks = self.scale.to_rank(torch.tensor([target for one in several for target in one], dtype=torch.float64))
        shares = torch.tensor([1 / len(one) for one in several for _ in one], dtype=torch.float64)
        return torch.zeros(self.scale.num_ranks, dtype=torch.float64).index_add_(0, ranks, shares)

    def level_counts(self) -> Tensor:
        """Return the number of training images of each level, float64 (K,)."""
        levels = self.scale.to_level(self.scale.values)
        return torch.zeros(self.scale.num_levels, dtype=torch.float64).index_add_(0, levels, self.rank_counts())

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch, whose images have weights if `imbalance.weights` asks for it."""
        if self.imbalance.weights != "none":
            batch = {**batch, "weight": self._weights_of(batch)}
        return super().training_step(batch, batch_idx)

    def adjusted(self, logits: Tensor) -> Tensor:
        """Return logits over levels (B, K) or ranks (B, R), in training with `tau log p(class)` added."""
        return self.with_prior(logits) if self.training else logits

    def with_prior(self, logits: Tensor) -> Tensor:
        """Return logits over levels (B, K) or ranks (B, R) with `tau log p(class)` added, if it is asked for."""
        tau = self.imbalance.logit_adjustment
        return logits + tau * self._log_priors[logits.shape[1]] if tau else logits

    def on_train_epoch_end(self) -> None:
        """Take over the statistics of features of the epoch."""
        super().on_train_epoch_end()
        if self.feature_smoothing:
            self.feature_smoothing.update(lambda own: self.trainer.strategy.reduce(own, reduce_op="sum"))

    def _output(self, batch: Batch) -> Output:
        """Return the output for a batch; in training, of calibrated features and with the features that ConR reads."""
        if not (self.training and (self.feature_smoothing or self.imbalance.conr)):
            return super()._output(batch)
        features = batch["features"] if "features" in batch else self.encode_images(batch["image"])
        compared = features
        if self.feature_smoothing:
            self.feature_smoothing.collect(features, batch["rank"])
            features = self.feature_smoothing(features, batch["rank"])
        output = self.decode_features(features)
        return output._replace(extras={**output.extras, "image_features": compared})

    def _own_losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the parts of the loss for one target of each image, in training with those that are switched on."""
        losses, asked = super()._own_losses(output, batch), self.imbalance
        if not self.training:
            return losses
        (value, target), unit = self.value_places(output, batch), self.loss_unit
        if asked.balanced_mse:
            if not value.requires_grad:
                self._refuse_balanced_mse()
            noise = (asked.noise or self.scale.axis.step) / unit
            losses["balanced_mse"] = asked.balanced_mse * balanced_mse(value / unit, target / unit, noise)
        if asked.conr:
            width = asked.conr_width or self.scale.axis.step
            features = output.extras["image_features"]
            losses["conr"] = asked.conr * conr(features, value, target, width, batch.get("weight"))
        return losses

    @property
    def contrast(self) -> str:
        """What part of the loss depends on which images are in a batch together; empty if its mean does not.

        A method that contrasts images, or takes a mean over some of them, says so here; all others are `super()`'s.
        """
        asked = self.imbalance
        found = {"balanced_mse": asked.balanced_mse, "conr": asked.conr, "weights": asked.weights != "none"}
        return next((f"imbalance.{name}" for name, is_asked in found.items() if is_asked), "")

    def _weights_of(self, batch: Batch) -> Tensor:
        if self._rank_weights is not None:
            return self._rank_weights[batch["rank"]]
        if self.imbalance.weights == "list":
            return batch["image_weight"] / self._mean_listed
        return 1 / (batch["propensity"].clamp(min=self._least_propensity) * self._mean_inverse)

    def _count_propensities(self) -> float:
        """Return the mean of the clipped inverse propensities of the training images."""
        inverse = 1 / self._training_column("propensity").clamp(min=self._least_propensity)
        self._report(inverse)
        return float(inverse.mean())

    def _mean_weight(self) -> float:
        """Return the mean of the list's weights of the training images."""
        weights = self._training_column("weight")
        self._report(weights)
        return float(weights.mean())

    def _training_column(self, name: str) -> Tensor:
        """Return a column of the training list, float64 (N,).

        Raises:
            ConfigError: If it is not there for all images.
        """
        labels = self.trainer.datamodule.labels("train") if getattr(self.trainer, "datamodule", None) else []  # type: ignore[attr-defined]
        found = [getattr(label, name, None) for label in labels]
        if not found or None in found:
            raise ConfigError(
                f"imbalance.weights is {self.imbalance.weights}, but the training list has no {name} for "
                f"{found.count(None) if found else 'its'} images; give ListDataModule {name}_column, a column of "
                f"{_COLUMNS[name]}."
            )
        return torch.tensor(found, dtype=torch.float64)

    def _report(self, weights: Tensor) -> None:
        effective = float(weights.sum() ** 2 / weights.square().sum())
        _log.info(
            "imbalance: %d training images have weights from %.2g to %.2g times their mean, as many as %.0f alike",
            len(weights), weights.min() / weights.mean(), weights.max() / weights.mean(), effective,
        )  # fmt: skip
