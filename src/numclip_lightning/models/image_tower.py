"""The image tower of a CLIP model, which every method looks through, with or without language."""

import torch
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError

__all__ = ["ImageTower"]


class ImageTower(nn.Module):
    """The image tower of a CLIP, and what images it takes.

    Args:
        visual: The tower itself, from images (B, 3, H, W) to features (B, D).
        embed_dim: Size D of a feature.
        image_size: Height and width in pixels of the images it takes.
        mean: Mean of red, green and blue that the images are normalised with, in 0..1.
        std: Their standard deviation.
    """

    def __init__(
        self, visual: nn.Module, embed_dim: int, image_size: int, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        # Colours last in memory: convolutions take a fifth less time on a CPU.
        self.visual = visual.to(memory_format=torch.channels_last)
        self.embed_dim = embed_dim
        self.image_size = image_size
        self.mean = mean
        self.std = std

    def require_size(self, height: int, width: int) -> None:
        """Raise ConfigError unless images of this size in pixels are what the backbone takes."""
        if (height, width) != (self.image_size, self.image_size):
            raise ConfigError(
                f"the images are {height}x{width} pixels, the backbone takes {self.image_size}x{self.image_size}; "
                f"set --data.image_size={self.image_size}"
            )

    def encode_image(self, images: Tensor) -> Tensor:
        """Encode images.

        Args:
            images: Normalised images (B, 3, H, W), H and W being `image_size`.

        Returns:
            Image features (B, D), not normalised.

        Raises:
            ConfigError: If the images have another size.
        """
        self.require_size(*images.shape[-2:])
        features: Tensor = self.visual(images)
        return features
