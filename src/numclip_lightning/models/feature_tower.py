"""In the place of an image tower, where there are no images: features that the user brings."""

import re

from torch import Tensor, nn

from numclip_lightning.errors import BackboneError, ConfigError
from numclip_lightning.models.image_tower import ImageTower

__all__ = ["FEATURES", "FeatureTower"]

FEATURES = "features:"
"""How the backbone `features:512` begins."""


class FeatureTower(ImageTower):
    """Nothing but the size of features that are in the batches already; it has no parameters and encodes no image.

    Args:
        embed_dim: Size D of a feature.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__(nn.Identity(), embed_dim, 1, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    @classmethod
    def named(cls, backbone: str) -> "FeatureTower":
        """Return the tower of a name such as `features:512`.

        Raises:
            BackboneError: If there is no whole number of 1 or more behind the colon.
        """
        if not re.fullmatch(rf"{FEATURES}[1-9]\d*", backbone):
            raise BackboneError(f"backbone={backbone!r}: give the size of your features, as in {FEATURES}512")
        return cls(int(backbone.removeprefix(FEATURES)))

    def require_size(self, height: int, width: int) -> None:
        """Accept any size: there are no images."""

    def encode_image(self, images: Tensor) -> Tensor:
        """Refuse images.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f"backbone={FEATURES}{self.embed_dim} has no image tower: its features are yours. Give data with features "
            "(FeatureListDataModule); what needs images, such as an export or maps, needs a backbone for images."
        )

    def encode_image_tokens(self, images: Tensor) -> Tensor:
        """Refuse images, as `encode_image`."""
        return self.encode_image(images)
