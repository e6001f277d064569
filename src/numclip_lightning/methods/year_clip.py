"""YearCLIP: NumCLIP's coarse phrases, and beside them prompts that may be a reason for the number.

Source: "Beyond Memorization: A Multi-Modal Ordinal Regression Benchmark to Expose Popularity Bias in Vision-Language
Models", 2025 (arXiv 2512.21337), section 4, as far as others quote it, and its published code.
"""

from collections.abc import Sequence
from dataclasses import field

import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.errors import refuse
from numclip_lightning.methods.base import LearningRates, Output, encode_training
from numclip_lightning.methods.numclip import LossWeights, NumCLIP
from numclip_lightning.precision import at_least_float32

__all__ = ["YearCLIP"]

# For any scale; words that fit it are better.
_GENERAL = (
    "a bright picture", "a dark picture", "a colourful picture", "a grey picture", "a sharp picture",
    "a blurred picture", "a crowded scene", "an empty scene", "a smooth surface", "a rough surface", "a clean thing",
    "a dirty thing", "a new thing", "an old thing", "a large thing", "a small thing", "many things", "a single thing",
    "a regular pattern", "a mess", "something round", "something angular", "something broken", "something whole",
)  # fmt: skip


class YearCLIP(NumCLIP):
    """NumCLIP whose fine head also sees how near an image is to each of a bank of reasons.

    The reasons are sentences ("a building with a flat roof"), compared with CLIP's own image feature and standardised
    by the training images, so that those far above their mean, which have *fired*, explain a number. Only the adapter
    and the head are learned. The output's extra `reason` is the index of the one that fired most.

    Args:
        reasons: The sentences; None takes a general bank.

    Attributes:
        reason_features: Their text features of length one, a buffer, (M, D).
        reason_mean: The mean similarity of the training images to each, a buffer, (M,).
        reason_deviation: Their standard deviation, a buffer, (M,).
    """

    reasons: Sequence[str] | None = None
    weighting = "similarities"
    loss_weights = LossWeights(text_to_image=0)
    learning_rates = LearningRates(image_encoder=0, adapter=1e-3, context=0, phrases=0, head=1e-3)
    reason_features: Tensor = field(init=False)
    reason_mean: Tensor = field(init=False)
    reason_deviation: Tensor = field(init=False)

    def check(self) -> None:
        """Refuse an empty bank, and rates of the towers that the reasons are read from."""
        super().check()
        if self.reasons is not None and (
            isinstance(self.reasons, str) or not self.reasons or len(set(self.reasons)) < len(self.reasons)
        ):
            refuse(f"reasons is {self.reasons!r}; give a list of different sentences, one at least.")
        for part in ("image_encoder", "text_encoder"):
            if rate := getattr(self.learning_rates, part):
                refuse(
                    f"learning_rates.{part} is {rate}, but YearCLIP's reasons are read by CLIP as it is; set it to 0."
                )

    @property
    def bank(self) -> list[str]:
        """The reasons, M sentences."""
        return list(_GENERAL if self.reasons is None else self.reasons)

    @property
    def num_more(self) -> int:
        """M, the number of reasons."""
        return len(self.bank)

    def build(self) -> None:
        """Build NumCLIP and the bank."""
        super().build()
        with torch.no_grad():
            texts = F.normalize(at_least_float32(self.clip.encode_text(self.bank)), dim=-1)
        self.register_buffer("reason_features", texts)
        self.register_buffer("reason_mean", torch.zeros(self.num_more))
        self.register_buffer("reason_deviation", torch.ones(self.num_more))

    def on_train_start(self) -> None:
        """Find how near the training images are to each reason, unless a training is resumed."""
        super().on_train_start()
        if self.trainer.global_step > 0:
            return
        found = self._similarities(encode_training(self).features.to(self.device))
        self.reason_mean.copy_(found.mean(dim=0))
        # Of one image, or of equal ones, there is no deviation.
        self.reason_deviation.copy_(found.std(dim=0, correction=0).clamp(min=1e-4))

    def more_inputs(self, features: Tensor) -> dict[str, Tensor]:
        """Return `more`, how far each reason has fired, in standard deviations (B, M), and `reason`, the farthest."""
        fired = (self._similarities(features) - self.reason_mean) / self.reason_deviation
        return {"more": fired, "reason": fired.argmax(dim=1)}

    def explain(self, output: Output, most: int = 3) -> list[list[tuple[str, float]]]:
        """Return the reasons that fired most for each image, with their standard deviations above the mean.

        Args:
            output: The output for the images.
            most: How many reasons at most.
        """
        found = output.extras["more"].topk(min(most, self.num_more), dim=1)
        return [
            [(self.bank[place], far) for place, far in zip(places, distances, strict=True)]
            for places, distances in zip(found.indices.tolist(), found.values.tolist(), strict=True)
        ]

    def _similarities(self, features: Tensor) -> Tensor:
        """Return cosine similarities of image features (B, D) and reasons, (B, M)."""
        return F.normalize(at_least_float32(features), dim=-1) @ self.reason_features.T
