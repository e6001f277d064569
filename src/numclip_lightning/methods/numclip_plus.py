"""NumCLIP carried on: the fine stage sees the image, and the number is the median of one distribution over the values.

Ours, after Du et al., "Teach CLIP to Develop a Number Sense for Ordinal Regression", ECCV 2024. The published fine
stage reads a number from K similarities and never sees the image again: where the words do not fit, nothing helps.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.errors import refuse
from numclip_lightning.losses import (
    Weighting,
    crps_loss,
    distribution_crps,
    log_prior,
    soft_label_loss,
    soft_vote_loss,
    weighted_mean,
)
from numclip_lightning.methods.base import (
    Batch,
    LearningRates,
    OptimizerSpec,
    Output,
    SchedulerSpec,
    SolvedStart,
)
from numclip_lightning.methods.base.many_values import check_number_of_values
from numclip_lightning.methods.numclip import LossWeights, NumCLIP, Reading
from numclip_lightning.models.heads import build_decoder, expected_value
from numclip_lightning.models.image_heads import mean_square_one
from numclip_lightning.models.image_stage import ImageStage, Join
from numclip_lightning.models.learned_heads import HeadKind
from numclip_lightning.precision import at_least_float32

__all__ = ["NumCLIPPlus", "PlusLossWeights"]

# The unit of the losses of the number, as a share of the targets' standard deviation.
_UNIT = 0.1
# The frequencies of fewer validation images are chance.
_FEWEST = 20


@dataclass(frozen=True)
class PlusLossWeights(LossWeights):
    """The weight of each part of the loss; 0 leaves the part out.

    Args:
        image_to_text: The ranking loss of each image over the phrases.
        text_to_image: The ranking loss of each phrase over the images of the batch.
        value: The absolute error of the expected number, in tenths of the targets' standard deviation.
        soft_labels: The cross-entropy over the values with labels of `label_width`.
        crps: The continuous ranked probability score over the values, in the unit of `value`.
    """

    image_to_text: float = 0.0
    text_to_image: float = 0.0
    value: float = 0.0
    soft_labels: float = 0.5
    crps: float = 0.5


class NumCLIPPlus(SolvedStart, NumCLIP):
    """NumCLIP with a fine stage that sees the image.

    Args:
        join: How the image's residual over the values joins the phrases' probabilities: see `ImageStage`.
        decode: How the number is read from the distribution over the values: its `median`, at which the mean absolute
            error is least, its `expectation`, or the most probable value (`argmax`).
        prior_correction: Whether frequencies of numbers that differ between training and validation images may be
            corrected (`SolvedStart`); it needs `strengths`.
        spread: Standard deviation of the targets, in their unit (of logarithms, on a logarithmic scale): losses of the
            number count in tenths of it, so that they weigh alike on every list. None takes that of the training
            targets.
        label_width: Standard deviation of the soft labels, as a share of `spread`.
        loss_weights: The weight of each part of the loss.

    Attributes:
        stage: The fine stage.
        target_spread: The spread that is used, a scalar buffer.
        prior_offset: `log p_train - log p_val` of each value if it is corrected, else 0; a buffer, (R,).
        values: The places of the scale's values on its axis, where the logits are; a buffer, (R,).
    """

    # The adapter and new words would not start from what the phrases say.
    adapter_reduction = None
    learning_rates = LearningRates(image_encoder=1e-3, adapter=0, context=0, phrases=0, head=1e-3, by_size=True)
    optimizer = OptimizerSpec("AdamW", {"weight_decay": 0.01})
    lr_scheduler = SchedulerSpec("OneCycleLR", {"pct_start": 0.1}, "step")
    join: Join = "product"
    decode: Reading = "median"
    head: HeadKind = field(default="bounded", init=False)
    weighting: Weighting = "similarities"
    prior_correction: bool = True
    mirror = True
    test_time_augmentation = True
    spread: float | None = None
    label_width: float = 0.05
    loss_weights: PlusLossWeights = PlusLossWeights()
    stage: ImageStage = field(init=False)
    target_spread: Tensor = field(init=False)
    prior_offset: Tensor = field(init=False)
    values: Tensor = field(init=False)

    adjusts_logits: ClassVar[bool] = True
    reads_raters: ClassVar[bool] = True

    def check(self) -> None:
        """Refuse the head, which is not there, and a spread or width that is not positive."""
        if self.decode == "head":
            refuse("NumCLIPPlus has no head; set decode to median, expectation or argmax.")
        super().check()
        check_number_of_values("NumCLIPPlus", self.scale)
        weights = self.loss_weights
        if not (weights.soft_labels or weights.crps or weights.value):
            refuse(
                "loss_weights.soft_labels, crps and value are all 0, so that nothing trains the fine stage that the "
                "number is read from; raise one of them."
            )
        for name, value in (("spread", self.spread), ("label_width", self.label_width)):
            if value is not None and not 0 < value < float("inf"):
                refuse(f"{name} is {value}; give a positive number.")

    def build_reading(self) -> None:
        """Build the fine stage and the decoder over the values."""
        self.fine_head = None
        self.stage = ImageStage(self.clip.embed_dim, self.scale.to_level(self.scale.values), self.join)
        axis = self.scale.axis
        self.decoder = build_decoder(self.decode, axis.values, logarithmic=axis.logarithmic)  # type: ignore[arg-type]  # checked above
        self.register_buffer("target_spread", torch.tensor(float(self.spread or axis.step)))
        self.register_buffer("prior_offset", torch.zeros(self.scale.num_ranks))
        self.register_buffer("values", axis.values, persistent=False)

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        return {**super().parts(), "head": self.stage.parameters()}

    @property
    def number_has_gradient(self) -> bool:
        """Whether training can move the number: the mean of the values, not one of them."""
        return self.decode == "expectation"

    def on_fit_start(self) -> None:
        """Take the spread from the training targets unless it is given.

        Raises:
            ConfigError: If there are no targets before training.
        """
        super().on_fit_start()
        if self.spread is None:
            targets = self.training_targets(remedy=", or set spread")
            self.set_spread(torch.tensor([target for one in targets for target in one], dtype=torch.float64))

    def set_spread(self, targets: Tensor) -> None:
        """Set the spread to the standard deviation of these targets (N,); a step of the scale if all are equal."""
        found = self.scale.axis.of(targets.double()).std(correction=0)
        self.target_spread.copy_(torch.where(found > 0, found, self.scale.axis.step))

    def mean_of_looks(self, features: Sequence[Tensor]) -> Tensor:
        """Return the mean of the features (B, D) of each look, each of length one before."""
        return torch.stack([F.normalize(at_least_float32(feature), dim=-1) for feature in features]).mean(dim=0)

    def decode_features(self, features: Tensor) -> Output:
        """Return logits over the values, (B, R), and values (B,); `extras` has the levels' logits, (B, K)."""
        levels = self.compare(features)
        return self.read_values(self.stage(features, levels), levels)

    def read_values(self, logits: Tensor, levels: Tensor) -> Output:
        """Return the output for logits over the values, (B, R), and over the levels, (B, K)."""
        assert self.decoder is not None
        return Output(logits, self.decoder(logits), {"levels": levels})

    def start_layer(self) -> nn.Linear:
        """Return the map from the image feature to the residual."""
        return self.stage.residual

    def start_features(self, features: Tensor) -> Tensor:
        """Return features scaled to mean square 1, as the map takes them."""
        return mean_square_one(features)

    def start_loss(
        self, features: Tensor, target: Tensor, weight: Tensor | None = None, offset: Tensor | None = None
    ) -> Callable[[Tensor], Tensor]:
        """Return the loss of the distribution over the values as a function of the residual."""
        with torch.no_grad():
            levels = self.compare(features)
        # To a product it is the same wherever it is added; a residual within levels could not pass it on to them.
        before, after = (offset, None) if self.join == "product" else (None, offset)

        def loss(residual: Tensor) -> Tensor:
            logits = self.stage.combine(residual if before is None else residual + before, levels)
            logits = logits if after is None else logits + after
            return sum(self.value_losses(self.with_prior(logits), target, weight).values(), start=logits.new_zeros(()))

        return loss

    def start_offset(self, train: Tensor, val: Tensor) -> Tensor | None:
        """Return the difference of both logarithmic histograms of the values, (R,), if they are to be corrected.

        Fewer than 20 validation images say too little of how often numbers occur. Both histograms are smoothed by the
        rule of thumb for Gaussian kernels of as many images as validate (Silverman 1986).
        """
        if not self.prior_correction or len(val) < _FEWEST or not val.std(correction=0) > 0:
            return None
        sigma = float(1.06 * self.scale.axis.of(val.double()).std() * len(val) ** -0.2) / self.scale.axis.step
        size = 2 * math.ceil(3 * sigma) + 1
        train_prior, val_prior = (
            log_prior(torch.bincount(self.scale.to_rank(y.cpu()), minlength=self.scale.num_ranks), True, size, sigma)
            for y in (train, val)
        )
        return (train_prior - val_prior).to(self.prior_offset)

    def keep_offset(self, offset: Tensor) -> None:
        """Count in the training images' frequencies from now on."""
        self.prior_offset.copy_(offset)

    def start_values(self, features: Tensor, outputs: Tensor) -> Tensor:
        """Return the values that the decoder reads."""
        levels = self.compare(features)
        return self.read_values(self.stage.combine(outputs, levels), levels).value

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted parts of the loss, scalars by name; the loss is their sum."""
        logits = self.adjusted(output.logits)
        if self.training:
            logits = logits + self.prior_offset
        phrases = self.phrase_losses(output.extras["levels"], batch)
        return phrases | self.value_losses(logits, batch["target"], batch.get("weight"), batch.get("distribution"))

    def value_losses(
        self, logits: Tensor, target: Tensor, weight: Tensor | None = None, votes: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the weighted losses of the distribution over the values.

        Args:
            logits: Over the values, (B, R).
            target: True numbers, (B,).
            weight: The weight of each image, (B,), or None.
            votes: The share of the raters' votes for each value, (B, R), in place of the one number; or None.
        """
        weights, values, unit = self.loss_weights, self.values, _UNIT * self.target_spread
        width = self.label_width * self.target_spread
        soft, distance = (soft_label_loss, crps_loss) if votes is None else (soft_vote_loss, distribution_crps)
        target = self.scale.axis.of(target)
        wanted = target if votes is None else votes
        kinds: dict[str, tuple[float, Tensor, Callable[[Tensor, Tensor], Tensor]]] = {
            "soft_labels": (weights.soft_labels, wanted, lambda z, y: soft(z, y, values, width)),
            "crps": (weights.crps, wanted, lambda z, y: distance(z, y, values) / unit),
            "value": (weights.value, target, lambda z, y: (expected_value(z, values) - y).abs().mean() / unit),
        }
        return {
            name: share * weighted_mean(loss, weight, logits, y) for name, (share, y, loss) in kinds.items() if share
        }
