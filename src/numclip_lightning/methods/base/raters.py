"""Targets that several raters have given: the mean alone, or how their votes are distributed over the scale."""

from typing import Literal

import torch
from torch import Tensor

from numclip_lightning.losses import normal_over_values, votes_over_values
from numclip_lightning.methods.base.types import Batch
from numclip_lightning.scale import OrdinalScale

__all__ = ["Raters", "rater_distribution"]

Raters = Literal["mean", "distribution"]
"""What training makes of the raters' votes."""


def rater_distribution(batch: Batch, scale: OrdinalScale) -> Tensor:
    """Return the distribution of the votes on each image over the values of the scale.

    Of the votes, where they are known; else a normal one with the image's spread around its target; else its target.

    Args:
        batch: `target` (B,) and, as far as the list has them, `votes` and `scores` (B, S), `spread` (B,).
        scale: The scale.

    Returns:
        float32 (B, R); a row adds up to 1.

    Raises:
        ScaleError: If a score that somebody gave is outside the scale.
    """
    target = batch["target"]
    found = normal_over_values(target, batch.get("spread", torch.zeros_like(target)), scale.values.to(target.device))
    if "votes" in batch:
        votes, scores = batch["votes"], batch["scores"]
        # Checks the scores.
        scale.to_rank(scores[votes > 0])
        known = votes.isfinite().all(dim=1)
        found[known] = votes_over_values(votes[known], scores[known], scale.values.to(target.device))
    return found.float()
