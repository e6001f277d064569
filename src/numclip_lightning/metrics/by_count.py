"""Mean absolute error on many-, medium- and few-shot ranks: by how many training images each true rank has."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics.by_level import level_mae_compute, level_mae_update

__all__ = ["SHOT_GROUPS", "ShotMAE", "shot_groups"]

SHOT_GROUPS = ("many", "medium", "few")


def shot_groups(counts: Tensor, *, many: int = 100, few: int = 20) -> Tensor:
    """Return the group of each rank: 0 (many), 1 (medium) or 2 (few), as in `SHOT_GROUPS`.

    Source: Yang et al., "Delving into deep imbalanced regression", ICML 2021: many is more than 100 training images,
    few is fewer than 20, none at all included, medium is between.

    Args:
        counts: How many training images each rank has, whole numbers of shape (R,).
        many: More than this is many.
        few: Less than this is few.

    Returns:
        int64 of shape (R,).

    Raises:
        ConfigError: If the counts are no list of numbers of 0 or more, or the thresholds overlap.

    Example:
        >>> shot_groups(torch.tensor([0, 19, 20, 100, 101]))
        tensor([2, 2, 1, 1, 0])
    """
    if counts.ndim != 1 or not len(counts) or (counts < 0).any():
        raise ConfigError(f"counts are {counts.tolist()}; give for each rank how many training images it has.")
    if not 0 <= few <= many + 1:
        raise ConfigError(
            f"few is {few} and many is {many}; a rank with fewer than {few} images can't have more than {many}: "
            "give thresholds with 0 <= few <= many."
        )
    return 1 - (counts > many).long() + (counts < few).long()


class ShotMAE(Metric):
    """The mean absolute error over the images of many-, medium- and few-shot ranks.

    Args:
        counts: How many training images each of the R ranks has.
        many: More than this is many.
        few: Less than this is few.

    Raises:
        ConfigError: As `shot_groups`.
    """

    higher_is_better = False
    full_state_update = False

    error: Tensor
    count: Tensor
    groups: Tensor

    def __init__(self, counts: Tensor | Sequence[int], *, many: int = 100, few: int = 20) -> None:
        groups = shot_groups(torch.as_tensor(counts), many=many, few=few)
        super().__init__()
        self.register_buffer("groups", groups, persistent=False)
        self.add_state("error", default=torch.zeros(len(groups), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", default=torch.zeros(len(groups), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, rank: Tensor) -> None:
        """Add a batch: predicted and true values, and true ranks (int64, 0..R-1), of one shape."""
        error, count = level_mae_update(preds, target, rank, len(self.groups))
        self.error += error
        self.count += count

    def compute(self) -> dict[str, Tensor]:
        """Return `mae_many`, `mae_medium` and `mae_few`, in the target's unit; NaN where none of a group was seen."""
        size = len(SHOT_GROUPS)
        error = self.error.new_zeros(size).scatter_add_(0, self.groups, self.error)
        count = self.count.new_zeros(size).scatter_add_(0, self.groups, self.count)
        errors = level_mae_compute(error, count)
        return {f"mae_{name}": errors[place] for place, name in enumerate(SHOT_GROUPS)}
