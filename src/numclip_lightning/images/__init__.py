"""Loading and transforming images; independent of Lightning, labels and models."""

from numclip_lightning.images.loading import IMAGE_SUFFIXES, list_images, load_rgb
from numclip_lightning.images.transforms import build_transform

__all__ = ["IMAGE_SUFFIXES", "build_transform", "list_images", "load_rgb"]
