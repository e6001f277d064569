"""Gaussian discriminant analysis on CLIP features, joined with zero-shot CLIP: solved, not trained.

Source: Wang et al., "A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation", ICLR 2024 (arXiv 2402.04087).
"""

from collections.abc import Iterable, Sequence
from dataclasses import field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.methods.base import Batch, Choice, Output, PromptClassifier, SolvedMethod, check_candidates
from numclip_lightning.models.solvers import gaussian_discriminant
from numclip_lightning.precision import without_autocast

__all__ = ["GDA"]


class GDA(SolvedMethod, PromptClassifier):
    """GDA: each class a Gaussian of one shared covariance; its logits are added to those of zero-shot CLIP.

    `logits = s f T + alpha (f W + b)`, f being the image feature of length one, T the prototypes and s CLIP's own
    scale. W and b are solved from the training features (`models.solvers.gaussian_discriminant`); alpha is selected by
    the error on the validation images. Before a fit it is zero-shot CLIP.

    Args:
        alphas: The weights of the discriminant to choose from.

    Attributes:
        alpha: The selected weight, a scalar buffer.
    """

    alphas: Sequence[float] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
    alpha: Tensor = field(init=False)

    def check(self) -> None:
        """Refuse weights that are negative or not finite."""
        super().check()
        check_candidates("alphas", self.alphas)

    def build(self) -> None:
        """Build zero-shot CLIP and a discriminant of zeros."""
        super().build()
        self.classifier = nn.Linear(self.clip.embed_dim, self.num_classes)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        self.register_buffer("alpha", torch.tensor(self.alphas[0]))

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        return {**super().parts(), "head": self.classifier.parameters()}

    def solve(self, features: Tensor, batch: Batch) -> None:
        """Solve for the discriminant."""
        weight, bias = gaussian_discriminant(
            F.normalize(features.double(), dim=-1), self.true_class(batch), self.class_values
        )
        # The part that all classes share changes no probability, and would cost digits of float32.
        self.apply_choice({"classifier.weight": weight - weight.mean(dim=0), "classifier.bias": bias - bias.mean()})

    def choices(self) -> Sequence[Choice]:
        """Return the weights of the discriminant to choose from."""
        return [{"alpha": torch.tensor(alpha)} for alpha in self.alphas]

    def decode_features(self, features: Tensor) -> Output:
        """Return the joined logits, (B, R) or (B, K), and the values (B,) that the decoder reads from them."""
        zero_shot = self.compare(features)
        with without_autocast(features.device.type):
            logits = zero_shot + self.alpha * self.classifier(self.adapt(features))
        return self.class_output(logits)
