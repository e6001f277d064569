"""Linear agreement of values and targets: Pearson's correlation and Lin's concordance, from moments of both.

torchmetrics has both; but there a constant prediction is NaN with a warning, an update without samples makes every
later result NaN, and neither class says which way is better.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from numclip_lightning.metrics.shares import check_shapes

__all__ = ["Concordance", "Pearson", "concordance_compute", "merge_moments", "moments_update", "pearson_compute"]


class _Moments(NamedTuple):
    """The numbers of a state, in its order; `square_*` and `product` are sums over samples about the means."""

    number: Tensor
    mean_x: Tensor
    mean_y: Tensor
    square_x: Tensor
    square_y: Tensor
    product: Tensor
    min_x: Tensor
    max_x: Tensor
    min_y: Tensor
    max_y: Tensor


_NOTHING = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, torch.inf, -torch.inf, torch.inf, -torch.inf)


def moments_update(preds: Tensor, target: Tensor) -> Tensor:
    """Return the moments of a batch, about its own means, so that no digits are lost.

    Args:
        preds: Values, any one shape.
        target: True values, of the same shape.

    Returns:
        float64 of shape (10,): how many; both means; sums of squares and of products about them; both ranges.

    Raises:
        ConfigError: If the shapes differ.

    Example:
        >>> moments_update(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 6.0])).tolist()
        [2.0, 2.0, 4.0, 2.0, 8.0, 4.0, 1.0, 3.0, 2.0, 6.0]
    """
    check_shapes(preds, target)
    x, y = preds.detach().flatten().double(), target.detach().flatten().double()
    if not len(x):
        return x.new_tensor(_NOTHING)
    centred_x, centred_y = x - x.mean(), y - y.mean()
    sums = [(centred_x**2).sum(), (centred_y**2).sum(), (centred_x * centred_y).sum()]
    return torch.stack([torch.full_like(sums[0], len(x)), x.mean(), y.mean(), *sums, *x.aminmax(), *y.aminmax()])


def merge_moments(parts: Tensor) -> Tensor:
    """Return the moments of all samples from those of parts.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.

    Args:
        parts: Shape (P, 10), a row for each part.

    Returns:
        Shape (10,).

    Example:
        >>> x, y = torch.tensor([1.0, 3.0, 8.0]), torch.tensor([2.0, 6.0, 1.0])
        >>> parts = torch.stack([moments_update(x[:1], y[:1]), moments_update(x[1:], y[1:])])
        >>> torch.allclose(merge_moments(parts), moments_update(x, y))
        True
    """
    part = _Moments(*parts.unbind(dim=1))
    total = part.number.sum()
    share = part.number / total.clamp(min=1)
    mean_x, mean_y = (share * part.mean_x).sum(), (share * part.mean_y).sum()
    off_x, off_y = part.mean_x - mean_x, part.mean_y - mean_y
    merged = _Moments(
        number=total,
        mean_x=mean_x,
        mean_y=mean_y,
        square_x=(part.square_x + part.number * off_x**2).sum(),
        square_y=(part.square_y + part.number * off_y**2).sum(),
        product=(part.product + part.number * off_x * off_y).sum(),
        min_x=part.min_x.amin(),
        max_x=part.max_x.amax(),
        min_y=part.min_y.amin(),
        max_y=part.max_y.amax(),
    )
    return torch.stack(merged)


def pearson_compute(moments: Tensor) -> Tensor:
    """Return Pearson's correlation (PLCC).

    Args:
        moments: Shape (10,), of `moments_update`.

    Returns:
        A float32 scalar in -1..1; 0.0 where either is constant, which includes fewer than 2 samples.

    Example:
        >>> pearson_compute(moments_update(torch.tensor([2.5, 0.0, 2, 8]), torch.tensor([3, -0.5, 2, 7])))
        tensor(0.9849)
    """
    all_of = _Moments(*moments)
    # The ranges find a constant exactly; sums of squares about a rounded mean don't.
    constant = (all_of.max_x <= all_of.min_x) | (all_of.max_y <= all_of.min_y)
    correlation = all_of.product / (all_of.square_x.sqrt() * all_of.square_y.sqrt())
    return torch.where(constant, 0.0, correlation).clamp(-1, 1).float()


def concordance_compute(moments: Tensor) -> Tensor:
    """Return Lin's concordance correlation (CCC): `2 s_xy / (s_x^2 + s_y^2 + (m_x - m_y)^2)`.

    Unlike Pearson's it falls where predictions are shifted or shrunk. As in torchmetrics, s is the sample's with n - 1;
    Lin, "A concordance correlation coefficient to evaluate reproducibility", 1989, divides by n, which is the same up
    to 1/n.

    Args:
        moments: Shape (10,), of `moments_update`.

    Returns:
        A float32 scalar in -1..1; 0.0 of nothing and where either is constant, but 1.0 where both are one constant.

    Example:
        >>> concordance_compute(moments_update(torch.tensor([2.5, 0.0, 2, 8]), torch.tensor([3, -0.5, 2, 7])))
        tensor(0.9777)
    """
    all_of = _Moments(*moments)
    constant = (all_of.max_x <= all_of.min_x) | (all_of.max_y <= all_of.min_y)
    same = (all_of.max_x == all_of.min_y) & (all_of.min_x == all_of.max_y)
    shift = (all_of.number - 1) * (all_of.mean_x - all_of.mean_y) ** 2
    agreement = 2 * all_of.product / (all_of.square_x + all_of.square_y + shift)
    return torch.where(constant, same.double(), agreement).clamp(-1, 1).float()


class _FromMoments(Metric):
    """What both correlations keep: ten numbers, whatever the number of samples."""

    higher_is_better = True
    full_state_update = False

    moments: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("moments", default=torch.tensor(_NOTHING, dtype=torch.float64), dist_reduce_fx=merge_moments)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch: two tensors of one shape."""
        self.moments = merge_moments(torch.stack([self.moments, moments_update(preds, target)]))


class Pearson(_FromMoments):
    """Pearson's correlation of values and targets (PLCC); see `pearson_compute` for the limiting cases."""

    def compute(self) -> Tensor:
        """Return the correlation, -1..1."""
        return pearson_compute(self.moments)


class Concordance(_FromMoments):
    """Lin's concordance of values and targets (CCC); see `concordance_compute` for the limiting cases."""

    def compute(self) -> Tensor:
        """Return the concordance, -1..1."""
        return concordance_compute(self.moments)
