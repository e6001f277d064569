"""A focus in words: places count by how much they look like it, before the image is read."""

import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.image_tower import ImageTower
from numclip_lightning.models.places import encode_part, encode_places

__all__ = ["SHARPNESS", "encode_focus", "focus_text", "focus_weights"]

SHARPNESS = 20.0
"""How much places that look like the words outweigh the others."""


def focus_text(clip: CLIPBackbone, template: str, words: str) -> Tensor:
    """Return the direction of words in the scale's template, (D,), of length one.

    Args:
        clip: The model.
        template: The sentence, with one `{}`.
        words: What counts, as it would follow "a picture of".
    """
    return F.normalize(clip.encode_text([template.replace("{}", words)]).float(), dim=1)[0]


def focus_weights(tower: ImageTower, images: Tensor, text: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """Return how much each place of images looks like words: the most alike place of each image has 1.

    `sigmoid(s (cos - mean cos))`, divided by its largest; with s = 0 all places count alike. The first half of RSRefSeg
    2 (arXiv 2507.06231), without training and without its segmentation.

    Args:
        tower: The image tower.
        images: Normalised images (B, 3, H, W), H and W being `image_size`.
        text: The direction of the words, (D,), of length one.
        sharpness: s.

    Returns:
        (B, rows, columns), above 0 and up to 1.

    Raises:
        BackboneError: If the tower has no comparable places.
    """
    places = encode_places(tower, images)
    cosines = F.normalize(places.features.float(), dim=-1) @ text
    weights = (sharpness * (cosines - cosines.mean(dim=1, keepdim=True))).sigmoid()
    return (weights / weights.amax(dim=1, keepdim=True)).view(len(images), *places.grid)


def encode_focus(tower: ImageTower, images: Tensor, text: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """Encode images by the places that look like words; arguments as of `focus_weights`, features (B, D).

    With a sharpness of 0 it is the plain image, to the bit.
    """
    return encode_part(tower, images, focus_weights(tower, images, text, sharpness))
