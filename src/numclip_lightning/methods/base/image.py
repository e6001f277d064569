"""Base class of the methods without language: the image tower of a CLIP, and a head on its features."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import field

from torch import nn

from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.optimisers import LearningRates
from numclip_lightning.models.loading import load_image_tower

__all__ = ["ImageMethod"]


class ImageMethod(OrdinalMethod):
    """Base class of the methods that see images and read no text; they contain no text tower.

    A method implements `build_head`, `decode_features` and `losses`.
    """

    learning_rates = LearningRates(adapter=0, context=0, phrases=0, head=1e-2)
    head: nn.Module = field(init=False)

    @abstractmethod
    def build_head(self) -> nn.Module:
        """Return the head on image features (B, D); `clip` is built."""

    def build(self) -> None:
        """Build the image tower and the head."""
        super().build()
        self.clip = load_image_tower(self.backbone, self.pretrained)
        self.head = self.build_head()

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        return {"image_encoder": self.clip.visual.parameters(), "head": self.head.parameters()}
