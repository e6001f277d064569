"""Targets that several raters have given: the mean alone, or how their votes are distributed over the scale."""

from typing import Literal, get_args

import torch
from torch import Tensor

from numclip_lightning.errors import check_choice, refuse
from numclip_lightning.losses import normal_over_values, votes_over_values
from numclip_lightning.methods.base.types import Batch
from numclip_lightning.scale import OrdinalScale

__all__ = ["Raters", "check_raters", "rater_distribution"]

Raters = Literal["mean", "distribution"]
"""What training makes of the raters' votes."""


def check_raters(raters: Raters, method: str, reads_raters: bool) -> None:
    """Raise ConfigError if the choice is unknown, or asks for votes that the losses of a method do not read."""
    check_choice("raters", raters, get_args(Raters))
    if raters != "mean" and not reads_raters:
        refuse(
            f"raters is {raters!r}, but the losses of {method} take one number for each image; set it to mean, or take "
            "a method of docs/raters.md."
        )


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
