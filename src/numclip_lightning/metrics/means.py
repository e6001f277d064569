"""The base of metrics that are the mean of one number for each image: a sum and a count in float64."""

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["ScoreMean", "mean_score"]


def mean_score(score: Tensor, total: Tensor) -> Tensor:
    """Return the mean of a sum of scores, a float32 scalar; NaN of nothing.

    Example:
        >>> mean_score(torch.tensor(3.0), torch.tensor(2))
        tensor(1.5000)
    """
    return (score / total).float()


class ScoreMean(Metric):
    """The mean of a score over images; NaN of nothing, where `SampleMean` is 0."""

    full_state_update = False

    score: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("score", default=torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", default=torch.tensor(0), dist_reduce_fx="sum")

    def add(self, score: Tensor, total: int) -> None:
        """Add the sum of the scores of a batch, and how many there are."""
        self.score += score
        self.total += total

    def compute(self) -> Tensor:
        """Return the mean, a float32 scalar."""
        return mean_score(self.score, self.total)
