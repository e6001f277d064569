"""Losses, pure functions of tensors: contrast of images and phrases, distributions, thresholds, order."""

from numclip_lightning.losses.blocks import block_counts, zero_inflated_poisson
from numclip_lightning.losses.cumulative import crps_loss, earth_mover_loss
from numclip_lightning.losses.distributions import (
    Distance,
    mean_loss,
    soft_label_loss,
    soft_labels,
    text_to_image_kl,
    variance_loss,
)
from numclip_lightning.losses.fcrc import Weighting, distance_weights, fcrc_image_to_text, fcrc_text_to_image
from numclip_lightning.losses.imbalance import balanced_mse, conr
from numclip_lightning.losses.ordering import image_order, neighbour_order, pair_fidelity, pair_ranking, prompt_order
from numclip_lightning.losses.rarity import log_prior, rank_weights, smooth_ranks, weighted_mean
from numclip_lightning.losses.raters import (
    distribution_crps,
    distribution_earth_mover,
    normal_over_values,
    soft_vote_loss,
    votes_over_values,
)
from numclip_lightning.losses.rejection import agreement, apart_loss, no_loss, yes_loss
from numclip_lightning.losses.thresholds import coral_loss, corn_loss

__all__ = [
    "Distance",
    "Weighting",
    "agreement",
    "apart_loss",
    "balanced_mse",
    "block_counts",
    "conr",
    "coral_loss",
    "corn_loss",
    "crps_loss",
    "distance_weights",
    "distribution_crps",
    "distribution_earth_mover",
    "earth_mover_loss",
    "fcrc_image_to_text",
    "fcrc_text_to_image",
    "image_order",
    "log_prior",
    "mean_loss",
    "neighbour_order",
    "no_loss",
    "normal_over_values",
    "pair_fidelity",
    "pair_ranking",
    "prompt_order",
    "rank_weights",
    "smooth_ranks",
    "soft_label_loss",
    "soft_labels",
    "soft_vote_loss",
    "text_to_image_kl",
    "variance_loss",
    "votes_over_values",
    "weighted_mean",
    "yes_loss",
    "zero_inflated_poisson",
]
