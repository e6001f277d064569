"""Attention over several images of one sample: which view, eye or frame says how much.

Source: Ilse, Tomczak and Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018 (arXiv 1802.04712),
section 2.4.
"""

from collections.abc import Iterable
from dataclasses import field
from typing import ClassVar

from torch import Tensor, nn

from numclip_lightning.errors import refuse
from numclip_lightning.methods.base import ImageClassifier, LearningRates, Output
from numclip_lightning.models.views import GatedAttention
from numclip_lightning.precision import without_autocast

__all__ = ["AttentionMIL"]


class AttentionMIL(ImageClassifier):
    """Gated attention joins the features of a sample's views, and a linear layer on the whole sorts it into classes.

    With one image for each sample it is a linear layer on its feature. Other methods average the views.

    Args:
        hidden: Size of the layers that say how much a view counts.

    Attributes:
        attention: What weighs the views.
    """

    reads_raters: ClassVar[bool] = True

    hidden: int = 64
    learning_rates = LearningRates(adapter=0, context=0, phrases=0, head=1e-3)
    attention: GatedAttention = field(init=False)

    def check(self) -> None:
        """Refuse a size of less than 1."""
        super().check()
        if self.hidden < 1:
            refuse(f"hidden is {self.hidden}; give 1 or more.")

    def build(self) -> None:
        """Build the image tower, the attention and the head."""
        super().build()
        self.attention = GatedAttention(self.clip.embed_dim, self.hidden)

    def build_head(self) -> nn.Linear:
        """Return a linear layer."""
        return nn.Linear(self.clip.embed_dim, self.num_classes)

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        return {**super().parts(), "head": [*self.head.parameters(), *self.attention.parameters()]}

    def encode_look(self, images: Tensor) -> Tensor:
        """Return the features of each view, (B, V, D), NaN for views that are not there; of images (B, D)."""
        return self.clip.encode_views(images) if images.ndim == 5 else self.clip.encode_image(images)

    def decode_features(self, features: Tensor) -> Output:
        """Return logits over the classes and values (B,); the extras have the share of each view, `views` (B, V)."""
        views = features if features.ndim == 3 else features[:, None]
        whole, shares = self.attention(views)
        with without_autocast(features.device.type):
            output = self.class_output(self.head(whole))
        return output._replace(extras={"views": shares})
