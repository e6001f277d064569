"""RankingAwareCLIP: an adapter on a frozen CLIP that reads one instruction, trained on numbers and on pairs.

Source: Yu et al., "Ranking-aware adapter for text-driven image ordering with CLIP", ICLR 2025 (arXiv 2412.06760),
section 3.
"""

from collections.abc import Iterable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.errors import check_weight, refuse
from numclip_lightning.losses import pair_ranking, weighted_mean
from numclip_lightning.methods.base import Batch, LearningRates, OptimizerSpec, OrdinalMethod, Output
from numclip_lightning.models.loading import load_clip
from numclip_lightning.models.rankingaware import PairHead, RankingAdapter, ValueHead

__all__ = ["RankingAwareCLIP"]


class RankingAwareCLIP(OrdinalMethod):
    """RankingAwareCLIP: patches of a frozen image tower attend to an instruction; the number is read from the result.

    A second branch compares all pairs of a training batch, which shapes the adapter and is skipped elsewhere. The
    instruction is read once, when the method is built: there is no text tower afterwards. The scale's template and
    phrases are not read.

    Args:
        instruction: The instruction for the images; None is `"Rank the images by the number of {unit}."`.
        width: Width inside the adapter.
        num_heads: Attention heads of the adapter, a divisor of `width`.
        num_prompts: Learned prompt tokens before the image's.
        num_queries: Learned queries of the pair branch.
        pair_weight: The weight of the pair loss; 0 builds no pair branch.
        value_weight: The weight of the loss of the number, greater than 0.
        learning_rates: The learning rate of the `head`, which is the whole adapter; the image tower stays frozen.
    """

    weighs_images: ClassVar[bool] = True
    reads_places: ClassVar[bool] = True

    instruction: str | None = None
    width: int = 128
    num_heads: int = 4
    num_prompts: int = 32
    num_queries: int = 16
    pair_weight: float = 1.0
    value_weight: float = 0.2
    learning_rates = LearningRates(image_encoder=0, adapter=0, context=0, phrases=0, head=5e-5)
    optimizer = OptimizerSpec("AdamW")
    lr_scheduler = None

    def check(self) -> None:
        """Refuse weights out of range and a rate for the image tower."""
        super().check()
        check_weight("pair_weight", self.pair_weight, "no pair branch")
        check_weight("value_weight", self.value_weight, "refused")
        if self.value_weight == 0:
            refuse("value_weight is 0, so that nothing trains the number; give a positive number.")
        if self.learning_rates.image_encoder:
            refuse(
                f"learning_rates.image_encoder is {self.learning_rates.image_encoder}, but RankingAwareCLIP reads a "
                "frozen tower, whose pooling it leaves unused; set it to 0."
            )

    def build(self) -> None:
        """Build the image tower and the adapter; encode the instruction."""
        super().build()
        clip = load_clip(self.backbone, self.pretrained).eval()
        self.clip = clip.image_tower()
        with torch.no_grad():
            text = clip.encode_text_tokens(self._instruction())
            patch = self.clip.encode_image_tokens(torch.zeros(1, 3, clip.image_size, clip.image_size))
        self.adapter = RankingAdapter(patch.shape[-1], text, self.width, self.num_heads, self.num_prompts)
        self.value_head = ValueHead(self.width, self.scale.axis.minimum, self.scale.axis.maximum)
        self.pair_head = PairHead(self.width, self.num_queries) if self.pair_weight else None

    def _instruction(self) -> str:
        if self.instruction is not None:
            return self.instruction
        return f"Rank the images by the number of {self.scale.unit}." if self.scale.unit else "Rank the images."

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        heads = [self.adapter, self.value_head, *([self.pair_head] if self.pair_head else [])]
        return {
            "image_encoder": self.clip.visual.parameters(),
            "head": [parameter for head in heads for parameter in head.parameters()],
        }

    def encode_look(self, images: Tensor) -> Tensor:
        """Return the image tower's tokens of normalised images (B, 3, H, W), (B, T, W)."""
        return self.clip.encode_image_tokens(images)

    def decode_features(self, features: Tensor) -> Output:
        """Return values (B,) and the `tokens` (B, T, D) that pairs are compared by."""
        tokens = self.adapter(features)
        return self.one_hot_output(self.scale.axis.number(self.value_head(tokens)), {"tokens": tokens})

    @property
    def contrast(self) -> str:
        """Pairs of images, and the logarithm of the mean of their errors."""
        return "the loss"

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of the number, `log(1 + smooth L1)` in steps of the scale, and in training that of pairs."""
        value, target = (places / self.loss_unit for places in self.value_places(output, batch))
        error = weighted_mean(F.smooth_l1_loss, batch.get("weight"), value, target)
        losses = {"value": self.value_weight * error.log1p()}
        if self.pair_head and self.training:
            compared = self.pair_head(output.extras["tokens"])
            losses["pair"] = self.pair_weight * pair_ranking(compared, batch["target"])
        return losses
