"""Linear probe: logistic regression on the features of a frozen image tower, no language.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021 (arXiv
2103.00020), section 3.2.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.classifier import Classes, ImageClassifier
from numclip_lightning.methods.base.optimisers import OptimizerSpec
from numclip_lightning.methods.base.selection import Choice, check_candidates
from numclip_lightning.methods.base.solved import SOLVED, ClosedFormMethod
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.heads import Decode
from numclip_lightning.models.solvers import LinearClassifier, logistic_regression
from numclip_lightning.precision import at_least_float32, without_autocast
from numclip_lightning.scale import OrdinalScale

__all__ = ["LinearProbe"]


class LinearProbe(ClosedFormMethod, ImageClassifier):
    """Multinomial logistic regression on image features of length one, solved by L-BFGS.

    One solution for each strength (`models.solvers.logistic_regression`, scikit-learn's C); the error on the validation
    images chooses among them. A class without training images is never predicted.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        classes: The `values` of the scale, or its `levels`.
        decode: How the number is read: the `expectation`, or that of the most probable class (`argmax`). A level counts
            as its centre.
        strengths: The values of C to choose from, each greater than 0: the larger, the freer the weights.
        tolerance: The k of the cumulative score CS@k, in the target's unit.

    Raises:
        ConfigError: If an argument is unknown or out of range; ScaleError and BackboneError are kinds of it.
    """

    strength: Tensor

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str = "ViT-B-16-quickgelu",
        pretrained: str | None = "openai",
        classes: Classes = "values",
        decode: Decode = "expectation",
        strengths: Sequence[float] = (0.1, 1.0, 10.0, 100.0, 1000.0),
        tolerance: float = 5.0,
    ) -> None:
        super().__init__(scale, backbone, pretrained, classes, decode, SOLVED, OptimizerSpec(), None, tolerance)
        self.strengths = sorted(check_candidates("strengths", strengths))
        if self.strengths[0] == 0:
            raise ConfigError("strengths holds 0, which would learn nothing; give numbers greater than 0.")
        self.save_hyperparameters({"strengths": self.strengths}, logger=False)
        self.head = nn.Linear(self.clip.embed_dim, self.num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("strength", torch.tensor(self.strengths[0]))
        self._choices: list[Choice] = [{"strength": torch.tensor(strength)} for strength in self.strengths]
        self.freeze_parts()

    def solve(self, features: Tensor, batch: Batch) -> None:
        """Solve for the head with every strength, from the least on, each from the solution before it."""
        x, label = F.normalize(features.double(), dim=-1), self.true_class(batch)
        found: LinearClassifier | None = None
        for choice in self._choices:
            strength = choice["strength"].item()
            found = logistic_regression(x, label, self.num_classes, strength, found)
            choice.update({"head.weight": found.weight, "head.bias": found.bias})

    def choices(self) -> Sequence[Choice]:
        """Return the solutions to choose from."""
        return self._choices

    def read(self, features: Tensor) -> Output:
        """Return logits over the classes, (B, R) or (B, K), and the values (B,) that the decoder reads from them."""
        with without_autocast(features.device.type):
            return super().read(F.normalize(at_least_float32(features), dim=-1))
