"""Loading and transforming images; independent of Lightning, labels and models."""

from numclip_lightning.images.folders import IMAGE_SUFFIXES, list_images
from numclip_lightning.images.loading import Reading, load_rgb, rgb_of
from numclip_lightning.images.transforms import build_transform

__all__ = ["IMAGE_SUFFIXES", "Reading", "build_transform", "list_images", "load_rgb", "rgb_of"]
