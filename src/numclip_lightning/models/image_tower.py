"""Image tower of a CLIP model, used by every method, with or without language."""

from collections.abc import Sequence
from typing import Any, Self

import open_clip
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from numclip_lightning.errors import BackboneError, ConfigError
from numclip_lightning.models.views import each_view, mean_of_views

__all__ = ["ImageTower"]


class ImageTower(nn.Module):
    """Image tower of a CLIP model, with the size and normalisation of its images.

    Args:
        visual: The network, from images (B, 3, H, W) to features (B, D).
        embed_dim: Size D of a feature.
        image_size: Height and width in pixels of the images it takes.
        mean: Mean of red, green and blue that the images are normalised with, in 0..1.
        std: Their standard deviation.

    Attributes:
        images_at_once: In training, how many images are encoded at a time; the backward pass encodes them again, so
            that the memory of so many is enough for a batch of any size. None for the whole batch.
    """

    def __init__(
        self, visual: nn.Module, embed_dim: int, image_size: int, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        # Channels last in memory: convolutions take a fifth less time on a CPU.
        self.visual = visual.to(memory_format=torch.channels_last)
        self.embed_dim = embed_dim
        self.image_size = image_size
        self.mean = mean
        self.std = std
        self.images_at_once: int | None = None

    @classmethod
    def of(cls, model: nn.Module, embed_dim: int, name: str) -> Self:
        """Return the image tower of a model of open_clip; the modules are shared, not copied.

        Args:
            model: The model.
            embed_dim: Size D of a feature.
            name: Its name, for the message.

        Raises:
            BackboneError: If it takes images that are not square.
        """
        images = open_clip.get_model_preprocess_cfg(model)
        size = _square_size(images["size"], name)
        return cls(model.get_submodule("visual"), embed_dim, size, tuple(images["mean"]), tuple(images["std"]))

    def require_size(self, height: int, width: int) -> None:
        """Raise ConfigError unless the backbone takes images of this size in pixels."""
        if (height, width) != (self.image_size, self.image_size):
            raise ConfigError(
                f"the images are {height}x{width} pixels, the backbone takes {self.image_size}x{self.image_size}; "
                f"set --data.image_size={self.image_size}"
            )

    def encode_image(self, images: Tensor) -> Tensor:
        """Encode images.

        Args:
            images: Normalised images (B, 3, H, W), H and W being `image_size`; or several views of each sample,
                (B, V, 3, H, W), whose features are averaged (`models.views`).

        Returns:
            Image features (B, D), not normalised.

        Raises:
            ConfigError: If the images have another size.
        """
        self.require_size(*images.shape[-2:])
        if images.ndim == 5:
            return mean_of_views(self.encode_views(images))
        return self._encode(images)

    def encode_views(self, views: Tensor) -> Tensor:
        """Encode each view by itself: (B, V, 3, H, W) -> (B, V, D), NaN for views that are not there."""
        self.require_size(*views.shape[-2:])
        return each_view(self._encode, views)

    def _encode(self, images: Tensor) -> Tensor:
        most = self.images_at_once
        features: Tensor
        if most is None or len(images) <= most or not torch.is_grad_enabled():
            features = self.visual(images)
            return features
        # GradCache (Gao et al., RepL4NLP 2021, arXiv 2101.06983), by PyTorch's checkpointing.
        parts = [checkpoint(self.visual, part, use_reentrant=False) for part in torch.split(images, most)]
        return torch.cat(parts)

    def encode_image_tokens(self, images: Tensor) -> Tensor:
        """Encode images into one feature for each place, before pooling and projection.

        Args:
            images: Normalised images (B, 3, H, W), H and W being `image_size`.

        Returns:
            The patches of a transformer or the cells of a feature map, (B, T, W), as the last block leaves them; W is
            the tower's own width.

        Raises:
            ConfigError: If the images have another size.
            BackboneError: If the tower has no features of places.
        """
        self.require_size(*images.shape[-2:])
        if images.ndim == 5:
            raise ConfigError("places are read in one image, and a sample has several views here; take another method.")
        tower: Any = self.visual
        # open_clip wraps timm's towers in a class that has the method, even if the tower inside has none.
        inner = getattr(tower, "trunk", tower)
        if not (hasattr(tower, "forward_intermediates") and hasattr(inner, "forward_intermediates")):
            raise BackboneError(
                f"the image tower {type(inner).__name__} has no forward_intermediates, so that its patches can't be "
                "read; choose a backbone with a vision transformer, a ResNet or a ConvNeXt"
            )
        found = tower.forward_intermediates(images, indices=1, intermediates_only=True, output_fmt="NCHW")
        cells: Tensor = found["image_intermediates"][-1]
        return cells.flatten(2).transpose(1, 2)


def _square_size(size: int | Sequence[int], name: str) -> int:
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise BackboneError(
            f"backbone={name!r} takes images of {height}x{width} pixels, only square ones are supported; choose another"
        )
    return height
