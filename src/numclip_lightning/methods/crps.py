"""Distances of whole distributions as losses: the CRPS, the squared and the plain earth mover's distance.

Source: Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", JASA 2007, equation 20; Hou,
Yu and Samaras, "Squared Earth Mover's Distance-based Loss for Training Deep Neural Networks", 2016 (arXiv 1611.05916).
"""

from collections.abc import Callable
from dataclasses import field
from typing import ClassVar, Literal, get_args

from torch import Tensor

from numclip_lightning.errors import check_choice, check_weight
from numclip_lightning.losses import (
    crps_loss,
    distribution_crps,
    distribution_earth_mover,
    earth_mover_loss,
    weighted_mean,
)
from numclip_lightning.methods.base import Batch, Classes, ImageClassifier, Output
from numclip_lightning.models.heads import Decode
from numclip_lightning.models.image_heads import LinearHead

__all__ = ["CRPSClassifier", "CumulativeDistance"]

CumulativeDistance = Literal["squared", "absolute"]

# By what is known of an image: one number, or the votes on it.
_DISTANCES: dict[tuple[str, CumulativeDistance], Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    ("target", "squared"): crps_loss,
    ("target", "absolute"): earth_mover_loss,
    ("distribution", "squared"): distribution_crps,
    ("distribution", "absolute"): distribution_earth_mover,
}


class CRPSClassifier(ImageClassifier):
    """A linear classifier over the values of the scale, trained with a distance between cumulative distributions.

    Args:
        distance: Of the two cumulative distributions, in steps of the scale: `squared` is the CRPS, which on an even
            scale is the squared earth mover's distance; `absolute` is the earth mover's distance itself, the expected
            absolute error.
        cross_entropy: The weight of a cross-entropy beside it; 0 leaves it out.
    """

    classes: Classes = field(default="values", init=False)
    # The CRPS is the score of the whole distribution; its least absolute error is read at the median.
    decode: Decode = "median"
    distance: CumulativeDistance = "squared"
    cross_entropy: float = 0.0

    reads_raters: ClassVar[bool] = True

    def check(self) -> None:
        """Refuse an unknown distance and a negative weight."""
        super().check()
        check_choice("distance", self.distance, get_args(CumulativeDistance))
        check_weight("cross_entropy", self.cross_entropy, "left out")

    def build_head(self) -> LinearHead:
        """Return a linear layer with an output for each value."""
        return LinearHead(self.clip.embed_dim, self.num_classes)

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the distance in steps of the scale and, if it has a weight, the cross-entropy."""
        logits, known = self.adjusted(output.logits), "distribution" if "distribution" in batch else "target"
        loss = _DISTANCES[known, self.distance]
        wanted = self.scale.axis.of(batch["target"]) if known == "target" else batch[known]
        distance = weighted_mean(lambda z, y: loss(z, y, self.class_values), batch.get("weight"), logits, wanted)
        losses = {"distance": distance / self.loss_unit}
        if self.cross_entropy:
            (whole,) = super().losses(output, batch).values()
            losses["cross_entropy"] = self.cross_entropy * whole
        return losses
