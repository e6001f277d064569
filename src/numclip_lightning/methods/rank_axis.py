"""Rank axis: one direction of the feature space along which images are ordered; solved, not trained.

Source: Sonthalia, Uselis and Oh, "On the Rankability of Visual Embeddings", 2025 (arXiv 2507.03683).
"""

from collections.abc import Sequence
from dataclasses import field
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.errors import check_choice, refuse
from numclip_lightning.methods.base import Batch, Choice, ImageMethod, Output, SolvedMethod, check_candidates
from numclip_lightning.models.loading import load_clip
from numclip_lightning.models.solvers import line_through, ridge_regression
from numclip_lightning.precision import at_least_float32, without_autocast

__all__ = ["Axis", "RankAxis"]

Axis = Literal["least_squares", "extremes", "text"]


class RankAxis(SolvedMethod, ImageMethod):
    """The number is linear in one projection of the image feature: `value = a <v, f> + b`, f of length one.

    - `least_squares`: v, a and b are the least squares fit to the training numbers, with a penalty on v that is chosen
      on validation images.
    - `extremes`: v is the mean feature of the images with the highest numbers less that of the lowest. Two groups of a
      few images are enough; a and b are a line through all training images.
    - `text`: v is the difference of the prompts of the last and the first level. Only a and b are learned.

    Ranking metrics (Spearman's rho, Kendall's tau) do not depend on a and b, but for the sign of a.

    Args:
        axis: Where the direction comes from.
        ridges: For `least_squares`, the penalties `ridge |v|^2` to choose from, in squared units of the target; 0 is
            the plain fit, with the shortest v where there are fewer images than numbers in a feature.
        extreme: For `extremes`, the share of training images in each group, above 0 and at most 0.5; one at least.

    Attributes:
        ridge: The chosen penalty, a scalar buffer.
        direction: The difference of the prompts for `text`, (D,), a buffer; zeros for other axes.
    """

    axis: Axis = "least_squares"
    ridges: Sequence[float] = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    extreme: float = 0.1
    ridge: Tensor = field(init=False)
    direction: Tensor = field(init=False)

    def check(self) -> None:
        """Refuse an unknown axis, penalties that are negative, and groups of more than half of the images."""
        super().check()
        check_choice("axis", self.axis, get_args(Axis))
        check_candidates("ridges", self.ridges)
        if not 0 < self.extreme <= 0.5:
            refuse(f"extreme is {self.extreme}; give a share above 0 and at most 0.5, such as 0.1.")
        if self.axis == "text" and self.scale.num_levels < 2:
            refuse("the scale has a single level, and axis=text needs a first and a last; add levels.")

    def build(self) -> None:
        """Build the image tower, and a head that answers with the middle of the scale before it is solved."""
        super().build()
        self.register_buffer("ridge", torch.tensor(float(self.ridges[0])))
        self.register_buffer("direction", self._text_direction())
        self._choices: list[Choice] = [{"ridge": self.ridge.clone()}]

    def build_head(self) -> nn.Linear:
        """Return a linear layer to one number, the middle of the scale."""
        head = nn.Linear(self.clip.embed_dim, 1)
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, (self.scale.axis.minimum + self.scale.axis.maximum) / 2)
        return head

    def _text_direction(self) -> Tensor:
        """Return the difference of the last and the first level's prompt, (D,); zeros for other axes."""
        if self.axis != "text":
            return torch.zeros(self.clip.embed_dim)
        ends = [self.scale.template.format(phrase) for phrase in (self.scale.phrases[0], self.scale.phrases[-1])]
        with torch.no_grad():
            # The text tower is needed for these two prompts only, and is not kept.
            clip = load_clip(self.backbone, self.pretrained).eval()
            low, high = F.normalize(clip.encode_text(ends).float(), dim=-1).unbind()
        return high - low

    def solve(self, features: Tensor, batch: Batch) -> None:
        """Solve for direction and line."""
        x = F.normalize(features.double(), dim=-1)
        target = self.scale.axis.of(batch["target"].to(features.device).double())
        if self.axis == "least_squares":
            found = [(ridge, *ridge_regression(x, target, ridge)) for ridge in self.ridges]
        else:
            direction = self._extremes(x, target) if self.axis == "extremes" else self.direction.to(x)
            slope, offset = line_through(x @ direction, target)
            found = [(0.0, slope * direction, offset)]
        self._choices = [
            {"ridge": torch.tensor(ridge), "head.weight": weight[None], "head.bias": bias[None]}
            for ridge, weight, bias in found
        ]

    def _extremes(self, x: Tensor, target: Tensor) -> Tensor:
        size = max(1, round(self.extreme * len(target)))
        order = target.argsort(stable=True)
        direction: Tensor = x[order[-size:]].mean(dim=0) - x[order[:size]].mean(dim=0)
        return direction

    def choices(self) -> Sequence[Choice]:
        """Return the solutions to choose from."""
        return self._choices

    def decode_features(self, features: Tensor) -> Output:
        """Return values (B,), and as logits the certainty of their levels, (B, K)."""
        with without_autocast(features.device.type):
            value = self.head(F.normalize(at_least_float32(features), dim=-1)).squeeze(dim=1)
        return self.one_hot_output(self.scale.axis.number(value))

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the squared error that is minimised, in squared steps of the scale; validation shows it."""
        value, target = self.value_places(output, batch)
        error = F.mse_loss(value, target.to(value.dtype))
        return {"squared": error / self.loss_unit**2}
