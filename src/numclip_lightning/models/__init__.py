"""Neural networks in plain torch: the CLIP backbone, prompts, adapters and heads. No module imports Lightning."""

from numclip_lightning.models.adapters import ResidualAdapter
from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.heads import ArgmaxHead, ExpectationHead, MedianHead
from numclip_lightning.models.image_tower import ImageTower
from numclip_lightning.models.learned_heads import BoundedHead, PublishedHead
from numclip_lightning.models.loading import load_clip, load_image_tower
from numclip_lightning.models.prompts import ConceptPrompts, RankPrompts, interpolation_weights
from numclip_lightning.models.text_tower import TextTower

__all__ = [
    "ArgmaxHead",
    "BoundedHead",
    "CLIPBackbone",
    "ConceptPrompts",
    "ExpectationHead",
    "ImageTower",
    "MedianHead",
    "PublishedHead",
    "RankPrompts",
    "ResidualAdapter",
    "TextTower",
    "interpolation_weights",
    "load_clip",
    "load_image_tower",
]
