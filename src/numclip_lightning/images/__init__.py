"""Loading and transforming images; knows nothing of Lightning, labels or models."""

from numclip_lightning.images.folders import IMAGE_SUFFIXES, list_images
from numclip_lightning.images.loading import Reading, load_rgb
from numclip_lightning.images.transforms import build_transform

__all__ = ["IMAGE_SUFFIXES", "Reading", "build_transform", "list_images", "load_rgb"]
