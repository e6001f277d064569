"""Expected calibration error (ECE) of the most probable level: is 80 % sure right 80 times of 100?"""

import torch
from torch import Tensor
from torchmetrics import Metric

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics.checks import check_levels, check_num_levels, check_probabilities

__all__ = ["CalibrationError", "calibration_error_compute", "calibration_error_update"]


def calibration_error_update(probabilities: Tensor, level: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Sum, in each bin of confidence, confidence less correctness; the confidence is that of the most probable level.

    Args:
        probabilities: Shape (B, K), each row with a sum of 1.
        level: True levels, int64 of shape (B,), 0..K-1.
        bins: M, of equal width over 0..1, each with its lower end and without its upper. As in torchmetrics, a
            confidence of exactly 1 has a bin of its own.

    Returns:
        The sums, float64 of shape (M + 1,); and how many samples each bin has, int64 of shape (M + 1,).

    Raises:
        ConfigError: If shapes or dtypes don't fit, or (on the CPU) a row is no distribution or a level is outside.

    Example:
        >>> calibration_error_update(torch.tensor([[0.25, 0.75], [0.75, 0.25]]), torch.tensor([1, 1]), 2)
        (tensor([0.0000, 0.5000, 0.0000], dtype=torch.float64), tensor([0, 2, 0]))
    """
    num_levels = probabilities.shape[-1] if probabilities.ndim == 2 else 0
    check_probabilities(probabilities, num_levels, level)
    check_levels("target", level, num_levels)
    precise = probabilities.detach() if probabilities.dtype == torch.float64 else probabilities.detach().float()
    confidence, top = precise.max(dim=1)
    # A sum of probabilities may lie a rounding above 1: it goes to the last bin.
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype, device=confidence.device)
    place = torch.bucketize(confidence, edges, right=True) - 1
    gap = confidence.double() - (top == level).double()
    sums = gap.new_zeros(bins + 1).scatter_add_(0, place, gap)
    return sums, place.new_zeros(bins + 1).scatter_add_(0, place, torch.ones_like(place))


def calibration_error_compute(gap: Tensor, count: Tensor) -> Tensor:
    """Return the ECE: the mean over samples of their bin's `|accuracy - mean confidence|`.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3.

    Args:
        gap: Sums of confidence less correctness, one for each bin.
        count: How many samples each bin has.

    Returns:
        A float32 scalar in 0..1; NaN of nothing.

    Example:
        >>> calibration_error_compute(torch.tensor([-0.2, 0.5, 0.0]), torch.tensor([1, 2, 0]))
        tensor(0.2333)
    """
    return (gap.abs().sum() / count.sum()).float()


class CalibrationError(Metric):
    """The expected calibration error of the most probable level (ECE); sums for each bin, whatever the samples.

    torchmetrics' `MulticlassCalibrationError` gives the same number where its input is as it expects; but it keeps all
    samples, knows no scale of one level, and takes the softmax again where a probability is a rounding above 1.
    With few images for each bin it is biased upwards: below 500 images, read it with care.

    Args:
        num_levels: K, at least 1.
        bins: How many bins of confidence, at least 1.

    Raises:
        ConfigError: If either is less than 1.
    """

    higher_is_better = False
    full_state_update = False

    gap: Tensor
    count: Tensor

    def __init__(self, num_levels: int, bins: int = 15) -> None:
        check_num_levels(num_levels)
        if bins < 1:
            raise ConfigError(f"bins is {bins}; give a number of bins of 1 or more, such as 15.")
        super().__init__()
        self.num_levels, self.bins = num_levels, bins
        self.add_state("gap", default=torch.zeros(bins + 1, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", default=torch.zeros(bins + 1, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor, target: Tensor) -> None:
        """Add a batch: probabilities of shape (B, K), and true levels, int64 of shape (B,)."""
        check_probabilities(probabilities, self.num_levels, target)
        gap, count = calibration_error_update(probabilities, target, self.bins)
        self.gap += gap
        self.count += count

    def compute(self) -> Tensor:
        """Return the error, 0..1."""
        return calibration_error_compute(self.gap, self.count)
