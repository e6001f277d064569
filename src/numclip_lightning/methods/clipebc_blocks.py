"""CLIP-EBC as published for crowds: each block of the feature map is counted by bins of whole numbers, and summed.

Source: Ma et al., "CLIP-EBC: CLIP Can Count Accurately through Enhanced Blockwise Classification", 2024 (arXiv
2403.09281), section 3.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import field
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError, check_choice, check_weight, refuse
from numclip_lightning.losses import block_counts
from numclip_lightning.methods.base import (
    Batch,
    LearningRates,
    OptimizerSpec,
    Output,
    PromptedMethod,
    SchedulerSpec,
)
from numclip_lightning.models.count_bins import bin_centers, bin_words, check_bins, count_bins
from numclip_lightning.models.places import encode_places
from numclip_lightning.models.prompts import ConceptPrompts
from numclip_lightning.precision import at_least_float32

__all__ = ["CLIPEBCBlocks"]

_log = logging.getLogger(__name__)

CountLoss = Literal["sum", "blocks"]

# Of a level's probability, so that its logarithm is finite.
_LEAST = 1e-12


class CLIPEBCBlocks(PromptedMethod[ConceptPrompts]):
    """Blockwise CLIP-EBC: prompts of bins ("between 5 and 6 things"), compared with every block; the sum is the number.

    Trained with the cross-entropy of the blocks, where batches say where the things are (`places`), and with the
    absolute error of the count. Blocks are the tower's places (`models.places`): patches, or cells of a feature map.

    Args:
        bins: The first number of each bin, from 0 on; None takes single numbers up to 8, then wider bins up to the
            largest value of the scale.
        block_size: Side of a block in pixels: the places are interpolated to it. None takes the tower's own.
        block_weight: The weight of the cross-entropy of the blocks.
        value_weight: The weight of the absolute error of the count, in steps of the scale.
        count_loss: Which count that is the error of: the `sum`, or each of the `blocks`, whose errors are added up, as
            published. Without `places` it is the sum.

    Attributes:
        centers: The number of each bin, a buffer.
        at_rest: Parameters of the image tower that no place depends on, such as the queries of a ResNet's pooling.
    """

    reads_places: ClassVar[bool] = True

    bins: Sequence[int] | None = None
    block_size: int | None = None
    block_weight: float = 1.0
    value_weight: float = 1.0
    count_loss: CountLoss = "sum"
    learning_rates = LearningRates(adapter=0, context=0, phrases=0, head=0, logit_scale=1e-4)
    optimizer = OptimizerSpec("Adam")
    lr_scheduler = SchedulerSpec("CosineAnnealingLR")
    centers: Tensor = field(init=False)
    at_rest: list[nn.Parameter] = field(init=False)

    def check(self) -> None:
        """Refuse bins that are none, and weights that are negative or all 0."""
        super().check()
        if self.scale.axis.logarithmic:
            refuse(
                f"{type(self).__name__} adds up the counts of blocks, most of which are 0, so that a logarithmic "
                "scale does not fit it; set scale.spacing=linear, or take clipebc, which counts whole images."
            )
        check_bins(self.starts)
        check_weight("block_weight", self.block_weight, "left out")
        check_weight("value_weight", self.value_weight, "left out")
        check_choice("count_loss", self.count_loss, get_args(CountLoss))
        if self.block_weight == self.value_weight == 0:
            refuse("block_weight and value_weight are both 0, so that nothing is learned; raise one.")
        if self.block_size is not None and self.block_size < 1:
            refuse(f"block_size is {self.block_size}; give a number of pixels, or null for the tower's own.")
        if self.mix:
            refuse(f"mix spoils counts, which {type(self).__name__} sums up over the image; leave it out.")
        if self.tuning.mode != "full":
            refuse(f"{type(self).__name__} reads places of the image tower as it is built; set tune=full.")

    @property
    def starts(self) -> list[int]:
        """The first number of each bin."""
        return count_bins(self.scale.maximum) if self.bins is None else list(self.bins)

    def build(self) -> None:
        """Build CLIP and the prompts of the bins, and find what no place depends on."""
        super().build()
        self.register_buffer("centers", torch.tensor(bin_centers(self.starts, self.scale.maximum)), persistent=False)
        self.at_rest = self._at_rest()
        self._warned = False

    def build_prompts(self) -> ConceptPrompts:
        """Return one prompt for each bin."""
        words = bin_words(self.starts, self.scale.maximum, self.scale.unit, self.scale.template)
        return ConceptPrompts(self.clip, self.scale.template, words)

    def encode_look(self, images: Tensor) -> Tensor:
        """Return the feature of each block, (B, rows * columns, D), row by row, not normalised."""
        places = encode_places(self.clip, images)
        if self.block_size is None:
            return places.features
        rows, columns = self.grid
        map_of = places.features.transpose(1, 2).reshape(len(images), -1, *places.grid)
        resized = F.interpolate(map_of, (rows, columns), mode="bilinear", align_corners=False)
        return resized.flatten(2).transpose(1, 2)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        if self.block_size is not None:
            side = max(1, self.clip.image_size // self.block_size)
            return side, side
        return self._own_grid

    def block_logits(self, features: Tensor) -> Tensor:
        """Return the similarities of blocks (B, T, D) and bins, (B, T, C)."""
        flat = self.clip.logits(self.adapt(features).flatten(0, 1), self.prototypes())
        return at_least_float32(flat.view(*features.shape[:2], -1))

    def block_moments(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the variance of each block's count, (B, T) each, from `block_logits`."""
        shares, centers = logits.softmax(dim=-1), self.centers.to(logits)
        mean = shares @ centers
        return mean, shares @ centers.square() - mean.square()

    def decode_features(self, features: Tensor) -> Output:
        """Return logits over the levels, (B, K), and the sums over the blocks, (B,).

        The extras have the bins' similarities, `blocks` (B, T, C). The levels' probabilities are those of a normal
        distribution with the mean and the variance of the sum of independent blocks.
        """
        logits = self.block_logits(features)
        mean, variance = (part.sum(dim=1) for part in self.block_moments(logits))
        return Output(self._levels(mean, variance), mean, {"blocks": logits})

    def map_of(self, images: Tensor) -> Tensor:
        """Return the count of each block, (B, rows, columns); their sum is the number of the image."""
        mean, _ = self.block_moments(self.block_logits(self.encode_images(images)))
        return mean.view(len(images), *self.grid)

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of the blocks, where it is known what they hold, and the absolute error of the count."""
        losses, logits = dict[str, Tensor](), output.extras["blocks"]
        counts = block_counts(batch["places"], *self.grid).flatten(1) if "places" in batch else None
        if self.block_weight and counts is not None:
            losses["blocks"] = self.block_weight * self.block_loss(logits, counts)
        if self.value_weight:
            error = (output.value - batch["target"]).abs()
            if self.count_loss == "blocks" and counts is not None:
                error = (self.block_moments(logits)[0] - counts).abs().sum(dim=1)
            losses["value"] = self.value_weight * error.mean() / self.loss_unit
        if counts is None:
            self._warn_of_places()
        if not losses:
            raise ConfigError("value_weight is 0 and the data does not say where things are: nothing can be learned.")
        return losses

    def _warn_of_places(self) -> None:
        """Say once that blocks learn nothing of their own."""
        if (self.block_weight or self.count_loss == "blocks") and not self._warned:
            self._warned = True
            _log.warning(
                "%s: the data does not say where things are, so that only the sum is learned (data.places=true of "
                "CountingDataModule and ShanghaiTechDataModule does)",
                type(self).__name__,
            )

    def block_loss(self, logits: Tensor, counts: Tensor) -> Tensor:
        """Return the mean cross-entropy of blocks (B, T, C) with their counts (B, T)."""
        starts = torch.tensor(self.starts[1:], device=counts.device, dtype=counts.dtype)
        bins = torch.bucketize(counts, starts, right=True)
        return F.cross_entropy(logits.flatten(0, 1), bins.flatten())

    def _levels(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Return the logarithm of each level's share of a normal distribution, (B, K)."""
        scale, half = self.scale, self.scale.step / 2
        edges = scale.lower.to(mean)[1:] - half
        # A count that is certain is still rounded to whole steps.
        deviation = (variance + half**2).sqrt()
        below = 0.5 * (1 + torch.erf((edges - mean[:, None]) / (deviation[:, None] * math.sqrt(2))))
        ends = torch.cat([torch.zeros_like(mean)[:, None], below, torch.ones_like(mean)[:, None]], dim=1)
        return ends.diff(dim=1).clamp(min=_LEAST).log()

    def _freeze_parts(self) -> None:
        super()._freeze_parts()
        for parameter in self.at_rest:
            parameter.requires_grad_(False)
        self.train()

    def _at_rest(self) -> list[nn.Parameter]:
        """Return the parameters of the tower that no place depends on: unused, they would stop two processes."""
        parameters, side = list(self.clip.visual.parameters()), self.clip.image_size
        was = self.clip.visual.training
        with torch.enable_grad():
            places = encode_places(self.clip.eval(), torch.zeros(1, 3, side, side))
            found = torch.autograd.grad(places.features.sum(), parameters, allow_unused=True)
        self.clip.train(was)
        self._own_grid = places.grid
        return [parameter for parameter, gradient in zip(parameters, found, strict=True) if gradient is None]
