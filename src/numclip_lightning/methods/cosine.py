"""Cosine classifier: a direction for each class in place of words, the baseline "CE" of the ordinal papers.

Source: Li et al., "OrdinalCLIP", NeurIPS 2022 (arXiv 2206.02338), the baseline of its published code: cross-entropy
over cosine similarities times 100.
"""

from typing import ClassVar

from numclip_lightning.methods.base import ImageClassifier
from numclip_lightning.models.image_heads import CosineHead

__all__ = ["CosineClassifier"]


class CosineClassifier(ImageClassifier):
    """The image tower and one learned direction for each class, trained with cross-entropy.

    CLIP's comparison without the words: it measures how much the words contribute.

    Args:
        learning_rates: The learning rate of each part, `head` being the directions; 0 freezes it.
    """

    reads_raters: ClassVar[bool] = True

    def build_head(self) -> CosineHead:
        """Return a direction for each class."""
        return CosineHead(self.clip.embed_dim, self.num_classes)
