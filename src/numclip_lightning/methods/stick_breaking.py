"""Stick-breaking: class by class, from the first on, whether the image stops there or goes on.

Source: Khan, Mohamed, Marlin and Murphy, "A Stick-Breaking Likelihood for Categorical Data Analysis with Latent
Gaussian Models", AISTATS 2012, section 3.
"""

from typing import ClassVar

from numclip_lightning.methods.base import ImageClassifier
from numclip_lightning.models.ordinal_heads import StickBreakingHead

__all__ = ["StickBreaking"]


class StickBreaking(ImageClassifier):
    """A chance to stop at each class, trained by the likelihood of the class.

    CORN asks the same questions; its loss is divided by the number of questions that were asked, this one by the number
    of images.
    """

    reads_raters: ClassVar[bool] = True

    def build_head(self) -> StickBreakingHead:
        """Return a linear layer to the breaks between the classes."""
        return StickBreakingHead(self.clip.embed_dim, self.num_classes)
