"""SORD: cross-entropy with labels that are softened by their distance from the true one.

Source: Diaz and Marathe, "Soft Labels for Ordinal Regression", CVPR 2019.
"""

from dataclasses import field
from typing import ClassVar

from numclip_lightning.methods.base import Classes, Falling, ImageClassifier, SoftenedMethod
from numclip_lightning.models.image_heads import LinearHead

__all__ = ["SORD"]


class SORD(SoftenedMethod, ImageClassifier):
    """A linear classifier over the values of the scale, trained with soft ordinal labels."""

    classes: Classes = field(default="values", init=False)
    temperature: float | Falling = 1.0

    reads_raters: ClassVar[bool] = True

    def build_head(self) -> LinearHead:
        """Return a linear layer with an output for each value."""
        return LinearHead(self.clip.embed_dim, self.num_classes)
