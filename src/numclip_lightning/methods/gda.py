"""Gaussian discriminant analysis on CLIP features, joined with zero-shot CLIP: solved, not trained.

Source: Wang et al., "A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation", ICLR 2024 (arXiv 2402.04087).
"""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.methods.base.named import NamedMethod, Names
from numclip_lightning.methods.base.optimisers import OptimizerSpec
from numclip_lightning.methods.base.selection import Choice, check_candidates
from numclip_lightning.methods.base.solved import SOLVED, ClosedFormMethod
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.heads import Decode
from numclip_lightning.models.prompts import ConceptPrompts
from numclip_lightning.models.solvers import gaussian_discriminant
from numclip_lightning.precision import without_autocast
from numclip_lightning.scale import OrdinalScale

__all__ = ["GDA"]


class GDA(ClosedFormMethod, NamedMethod):
    """GDA: each class a Gaussian of one shared covariance; its logits are added to those of zero-shot CLIP.

    `logits = s f T + alpha (f W + b)`, f being the image feature of length one, T the prototypes and s CLIP's own
    scale. W and b are solved from the training features (`models.solvers.gaussian_discriminant`); alpha is chosen by
    the error on the validation images. Before a fit it is zero-shot CLIP.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        names: The classes: the `numbers` of the scale, or the `phrases` or `ranges` of its levels.
        decode: How the number is read: `expectation`, or of the most probable class (`argmax`). A level counts as its
            centre.
        alphas: The weights of the discriminant to choose from.
        tolerance: The k of the cumulative score CS@k, in the target's unit.

    Raises:
        ConfigError: If an argument is unknown or out of range; ScaleError and BackboneError are kinds of it.
    """

    alpha: Tensor

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str = "ViT-B-16-quickgelu",
        pretrained: str | None = "openai",
        names: Names = "numbers",
        decode: Decode = "expectation",
        alphas: Sequence[float] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0),
        tolerance: float = 5.0,
    ) -> None:
        super().__init__(scale, backbone, pretrained, names, decode, SOLVED, OptimizerSpec(), None, tolerance)
        self.alphas = check_candidates("alphas", alphas)
        self.save_hyperparameters({"alphas": self.alphas}, logger=False)
        self.prompts = ConceptPrompts(self.clip, self.scale.template, self.words)
        self.classifier = nn.Linear(self.clip.embed_dim, len(self.words))
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        self.register_buffer("alpha", torch.tensor(self.alphas[0]))
        self.freeze_parts()

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        return {**super().parts(), "head": self.classifier.parameters()}

    def solve(self, features: Tensor, batch: Batch) -> None:
        """Solve for the discriminant."""
        weight, bias = gaussian_discriminant(
            F.normalize(features.double(), dim=-1), self.true_class(batch), self.decoder.get_buffer("centers")
        )
        # What all classes share changes no probability, and would take float32's digits from what they don't.
        self.take({"classifier.weight": weight - weight.mean(dim=0), "classifier.bias": bias - bias.mean()})

    def choices(self) -> Sequence[Choice]:
        """Return the weights of the discriminant to choose from."""
        return [{"alpha": torch.tensor(alpha)} for alpha in self.alphas]

    def read(self, features: Tensor) -> Output:
        """Return the joined logits, (B, R) or (B, K), and the values (B,) that the decoder reads from them."""
        zero_shot = self.compare(features)
        with without_autocast(features.device.type):
            logits = zero_shot + self.alpha * self.classifier(self.adapt(features))
        return Output(logits, self.decoder(logits))
