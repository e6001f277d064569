"""Linear probe: logistic regression on the features of a frozen image tower, no language.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021 (arXiv
2103.00020), section 3.2.
"""

from collections.abc import Sequence
from dataclasses import field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.errors import refuse
from numclip_lightning.methods.base import Batch, Choice, ImageClassifier, Output, SolvedMethod, check_candidates
from numclip_lightning.models.solvers import LinearClassifier, logistic_regression
from numclip_lightning.precision import at_least_float32, without_autocast
from numclip_lightning.progress import watched

__all__ = ["LinearProbe"]


class LinearProbe(SolvedMethod, ImageClassifier):
    """Multinomial logistic regression on image features of length one, solved by L-BFGS.

    One solution for each strength (`models.solvers.logistic_regression`, scikit-learn's C); the error on the validation
    images selects one. A class without training images is never predicted.

    Args:
        strengths: The values of C to choose from, each greater than 0: the larger, the freer the weights.

    Attributes:
        strength: The selected C, a scalar buffer.
    """

    strengths: Sequence[float] = (0.1, 1.0, 10.0, 100.0, 1000.0)
    strength: Tensor = field(init=False)

    def check(self) -> None:
        """Refuse strengths that are not finite and greater than 0."""
        super().check()
        check_candidates("strengths", self.strengths)
        if 0 in self.strengths:
            refuse("strengths holds 0, which would learn nothing; give numbers greater than 0.")

    def build(self) -> None:
        """Build the image tower, a head of zeros and a choice for each strength, in increasing order."""
        super().build()
        strengths = [torch.tensor(strength) for strength in sorted(self.strengths)]
        self.register_buffer("strength", strengths[0].clone())
        self._choices: list[Choice] = [{"strength": strength} for strength in strengths]

    def build_head(self) -> nn.Linear:
        """Return a linear layer of zeros."""
        head = nn.Linear(self.clip.embed_dim, self.num_classes)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        return head

    def solve(self, features: Tensor, batch: Batch) -> None:
        """Solve for the head with every strength, from the least on, each from the solution before it."""
        x, label = F.normalize(features.double(), dim=-1), self.true_class(batch)
        found: LinearClassifier | None = None
        for choice in watched(self._choices, len(self._choices), "solving for the head", "strength"):
            strength = choice["strength"].item()
            found = logistic_regression(x, label, self.num_classes, strength, found)
            choice.update({"head.weight": found.weight, "head.bias": found.bias})

    def choices(self) -> Sequence[Choice]:
        """Return the solutions to choose from."""
        return self._choices

    def decode_features(self, features: Tensor) -> Output:
        """Return logits over the classes, (B, R) or (B, K), and the values (B,) that the decoder reads from them."""
        with without_autocast(features.device.type):
            return super().decode_features(F.normalize(at_least_float32(features), dim=-1))
