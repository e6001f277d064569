"""The losses, pure functions of tensors: contrasts and orders of images and phrases, and those without language."""

from numclip_lightning.losses.distributions import (
    Distance,
    coral_loss,
    corn_loss,
    mean_loss,
    soft_labels,
    sord_loss,
    variance_loss,
)
from numclip_lightning.losses.fcrc import (
    Weighting,
    distance_weights,
    fcrc_image_to_text,
    fcrc_text_to_image,
    text_to_image_kl,
)
from numclip_lightning.losses.ordering import image_order, pair_ranking, prompt_order

__all__ = [
    "Distance",
    "Weighting",
    "coral_loss",
    "corn_loss",
    "distance_weights",
    "fcrc_image_to_text",
    "fcrc_text_to_image",
    "image_order",
    "mean_loss",
    "pair_ranking",
    "prompt_order",
    "soft_labels",
    "sord_loss",
    "text_to_image_kl",
    "variance_loss",
]
