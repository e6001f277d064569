"""AMU-Tuning: a linear layer on the features of a second, frozen image tower, added to zero-shot CLIP.

Source: Tang et al., "AMU-Tuning: Effective Logit Bias for CLIP-based Few-shot Learning", CVPR 2024 (arXiv 2404.08958),
section 3.
"""

from collections.abc import Iterable
from dataclasses import field
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError, check_choice, check_weight, refuse
from numclip_lightning.losses import weighted_mean
from numclip_lightning.methods.base import (
    Batch,
    LearningRates,
    OptimizerSpec,
    Output,
    PromptClassifier,
    SchedulerSpec,
    encode_training,
)
from numclip_lightning.models.auxiliary import AuxiliaryTower, load_auxiliary
from numclip_lightning.models.solvers import interpolated_means
from numclip_lightning.models.uncertainty import Uncertainty, uncertainty
from numclip_lightning.precision import at_least_float32, without_autocast

__all__ = ["AMU"]


class AMU(PromptClassifier):
    """AMU-Tuning: `logits = s f T + alpha u l`, and `l = z(W a)`.

    f is CLIP's image feature of length one, T the prototypes, s CLIP's own scale; a is the feature of length one of a
    second tower, W starts from its class means and is all that is trained. z makes the mean of an image's scores 0 and
    their deviation 1; u is how unsure zero-shot CLIP is of the image.

    Args:
        auxiliary: The second image tower: a name as for `backbone`, or `timm:NAME`. None takes CLIP's own tower again.
        auxiliary_pretrained: Its weights, as for `pretrained`, see `models.auxiliary.load_auxiliary`.
        alpha: The weight of the second tower's scores; 0 is zero-shot CLIP.
        uncertainty: How u is found, see `models.uncertainty`; `none` is 1.
        power: The power of u; of `spread` its factor.
        joined_weight: The share of the cross-entropy of the joined logits, 0 to 1; the rest is that of l alone.
    """

    auxiliary: str | None = None
    auxiliary_pretrained: str | None = "auto"
    alpha: float = 0.5
    uncertainty: Uncertainty = "none"
    power: float = 0.4
    joined_weight: float = 0.35
    learning_rates = LearningRates(image_encoder=0, adapter=0, context=0, phrases=0, head=1e-3)
    optimizer = OptimizerSpec("AdamW", {"eps": 1e-4, "weight_decay": 0.01})
    lr_scheduler = SchedulerSpec("CosineAnnealingLR", interval="step")
    tower: AuxiliaryTower | None = field(init=False)
    head: nn.Linear = field(init=False)

    def check(self) -> None:
        """Refuse weights out of their range and a rate for the image tower."""
        super().check()
        check_choice("uncertainty", self.uncertainty, get_args(Uncertainty))
        check_weight("alpha", self.alpha, "zero-shot CLIP")
        check_weight("power", self.power, "sure of all")
        if not 0 <= self.joined_weight <= 1:
            refuse(f"joined_weight is {self.joined_weight}; give a share from 0 to 1.")
        if self.learning_rates.image_encoder:
            refuse(
                f"learning_rates.image_encoder is {self.learning_rates.image_encoder}, but the layer of AMU starts "
                "from the features of towers as they are, which would move away from it; set it to 0."
            )

    def build(self) -> None:
        """Build zero-shot CLIP, the second tower and a layer of zeros."""
        super().build()
        self.tower = load_auxiliary(self.auxiliary, self.auxiliary_pretrained, self.clip) if self.auxiliary else None
        dim = self.tower.embed_dim if self.tower else self.clip.embed_dim
        self.head = nn.Linear(dim, self.num_classes, bias=False)
        nn.init.zeros_(self.head.weight)

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        found = super().parts()
        second = self.tower.parameters() if self.tower else ()
        return {**found, "image_encoder": [*found["image_encoder"], *second], "head": self.head.parameters()}

    def setup(self, stage: str) -> None:
        """Before a fit, tell the second tower what the data normalise images with: its pixels are found again by it."""
        super().setup(stage)
        used = getattr(getattr(self.trainer, "datamodule", None), "normalization", None)
        if stage == "fit" and self.tower and used:
            self.tower.take_images(*used)

    def encode_look(self, images: Tensor) -> Tensor:
        """Return the features of both towers side by side, (B, D + D2); of one tower (B, D)."""
        features = super().encode_look(images)
        return torch.cat([features, self.tower(images)], dim=1) if self.tower else features

    def adapt(self, features: Tensor) -> Tensor:
        """Return CLIP's own features, the first D, of length one."""
        return super().adapt(features[..., : self.clip.embed_dim])

    def second(self, features: Tensor) -> Tensor:
        """Return the features of the second tower, the last D2, of length one.

        Raises:
            ConfigError: If they are those of one tower alone, as of the places of a map.
        """
        if self.tower and features.shape[-1] != self.clip.embed_dim + self.tower.embed_dim:
            raise ConfigError("AMU reads two towers, and what it is given here, such as a place, is CLIP's alone.")
        return F.normalize(at_least_float32(features[..., self.clip.embed_dim if self.tower else 0 :]), dim=-1)

    def on_train_start(self) -> None:
        """Start the layer from the mean feature of each class, unless a training is resumed."""
        super().on_train_start()
        if self.trainer.global_step > 0:
            return
        index, features, target = encode_training(self)
        label = self.true_class(self.with_levels({"index": index, "target": target}))
        means = interpolated_means(self.second(features).double(), label, self.class_values.cpu().double())
        with torch.no_grad():
            self.head.weight.copy_(means)

    def decode_features(self, features: Tensor) -> Output:
        """Return the joined logits, (B, R) or (B, K), and the values (B,) that the decoder reads from them."""
        zero_shot = self.compare(features)
        with without_autocast(features.device.type):
            scores = _standardised(self.head(self.second(features)))
            unsure = uncertainty(self.uncertainty, zero_shot, self.power, self.class_values, self.scale.axis.step)
            logits = zero_shot + self.alpha * unsure * scores
        output = self.class_output(logits)
        return output._replace(extras={"auxiliary": scores})

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropies of the joined logits and of the second tower's standardised scores."""
        (joined,) = super().losses(output, batch).values()
        scores = at_least_float32(self.adjusted(output.extras["auxiliary"]))
        own = weighted_mean(F.cross_entropy, batch.get("weight"), scores, self.true_class(batch))
        return {self.loss_name: self.joined_weight * joined, "auxiliary": (1 - self.joined_weight) * own}


def _standardised(scores: Tensor) -> Tensor:
    """Return scores (B, C) whose mean over the classes is 0 and whose deviation is 1, for each image."""
    away = scores - scores.mean(dim=-1, keepdim=True)
    # One class, or equal scores, have no deviation.
    variance = away.square().sum(dim=-1, keepdim=True) / max(scores.shape[1] - 1, 1)
    return away / variance.clamp(min=torch.finfo(scores.dtype).tiny).sqrt()
