"""Cumulative link model: one score for the image, cut into ordered classes by thresholds that cannot cross.

Source: McCullagh, "Regression Models for Ordinal Data", Journal of the Royal Statistical Society B 1980; for networks
Vargas, Gutierrez and Hervas-Martinez, "Cumulative Link Models for Deep Ordinal Classification", Neurocomputing 2020.
"""

from typing import ClassVar, get_args

from numclip_lightning.errors import check_choice
from numclip_lightning.methods.base import ImageClassifier
from numclip_lightning.models.ordinal_heads import CumulativeLinkHead, Link

__all__ = ["CumulativeLink"]


class CumulativeLink(ImageClassifier):
    """Thresholds on one score, trained by the likelihood of the class and not by one binary question for each (CORAL).

    Args:
        link: The distribution of the noise on the score: logistic (`logit`, proportional odds) or normal (`probit`).
    """

    link: Link = "logit"

    reads_raters: ClassVar[bool] = True

    def check(self) -> None:
        """Refuse an unknown link."""
        super().check()
        check_choice("link", self.link, get_args(Link))

    def build_head(self) -> CumulativeLinkHead:
        """Return a score and the thresholds between the classes."""
        return CumulativeLinkHead(self.clip.embed_dim, self.num_classes, self.link)
