"""Unimodal outputs: probabilities that rise to one class and fall behind it, by construction.

Source: Dey, Merugu and Kaveri, "Conformal Prediction Sets for Ordinal Classification", NeurIPS 2023 (COPOC); Beckham
and Pal, "Unimodal Probability Distributions for Deep Ordinal Classification", ICML 2017 (arXiv 1705.05278).
"""

from typing import ClassVar, get_args

from numclip_lightning.errors import check_choice
from numclip_lightning.methods.base import ImageClassifier
from numclip_lightning.models.ordinal_heads import Unimodal, UnimodalHead

__all__ = ["UnimodalClassifier"]


class UnimodalClassifier(ImageClassifier):
    """A classifier that cannot say "1 or 9, but not 5", trained with cross-entropy.

    Args:
        form: `folded` (COPOC, any shape with one peak), `binomial` or `poisson` (one number for the whole shape).
    """

    form: Unimodal = "folded"

    reads_raters: ClassVar[bool] = True

    def check(self) -> None:
        """Refuse an unknown form."""
        super().check()
        check_choice("form", self.form, get_args(Unimodal))

    def build_head(self) -> UnimodalHead:
        """Return the head of the form."""
        return UnimodalHead(self.clip.embed_dim, self.num_classes, self.form)
