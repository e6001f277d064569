"""How varied images are to an image tower: along the scale, across it, and which are nearly the same."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["NearPair", "diversity", "explained_share", "near_pairs"]

_CHUNK = 512


class NearPair(NamedTuple):
    """Two images that are nearly the same: their places, and the cosine of their features."""

    first: int
    second: int
    cosine: float


def near_pairs(features: Tensor, least: float) -> list[NearPair]:
    """Return the pairs of images whose features have a cosine of at least so much, the nearest first.

    The cosine is that of the features less their mean: those of a tower lie in a narrow cone, where all cosines are
    near 1.

    Args:
        features: (N, D).
        least: The least cosine, -1..1.
    """
    found = []
    own = functional.normalize(features - features.mean(dim=0), dim=1)
    for start in range(0, len(own), _CHUNK):
        cosines = own[start : start + _CHUNK] @ own.T
        rows, columns = (cosines >= least).nonzero(as_tuple=True)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            if start + row < column:
                found.append(NearPair(start + row, column, float(cosines[row, column])))
    return sorted(found, key=lambda pair: -pair.cosine)


def explained_share(features: Tensor, level: Tensor) -> float:
    """Share of the variance of features that lies between the levels: how much of what a tower sees is the scale.

    `tr(B) / tr(C)` with C the covariance around the mean of all images, and B that of the means of the levels. For
    prototypes that are independent of each other, B is what the Schur complement takes off C.

    Source: Ospanov et al., "Dissecting CLIP", 2024 (arXiv 2412.18645), with a linear kernel on centred features.

    Args:
        features: (N, D), N at least 1.
        level: int64 (N,), 0 or more.

    Returns:
        0..1; NaN if all features are equal.

    Example:
        >>> explained_share(torch.tensor([[0.0], [0.0], [1.0], [1.0]]), torch.tensor([0, 0, 1, 1]))
        1.0
    """
    x = features.double() - features.double().mean(dim=0)
    total = x.square().sum()
    rest = x - _means(x, level)[level]
    return float(1 - rest.square().sum() / total) if total > 0 else float("nan")


def diversity(features: Tensor) -> float:
    """Effective number of directions in which images differ: `exp(-sum p log p)` of the eigenvalues' shares p.

    Source: as `explained_share`; Roy and Vetterli, "The Effective Rank", EUSIPCO 2007. Grows with the number of images.

    Args:
        features: Those of one level, (N, D).

    Returns:
        1 or more, at most min(N - 1, D); NaN for fewer than two images, or equal ones.

    Example:
        >>> round(diversity(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])), 3)
        2.0
    """
    x = features.double() - features.double().mean(dim=0)
    power = torch.linalg.svdvals(x).square()
    if len(features) < 2 or not power.sum() > 0:
        return float("nan")
    share = power / power.sum()
    return float(torch.special.entr(share).sum().exp())


def _means(x: Tensor, level: Tensor) -> Tensor:
    """Return the mean of each level, (K, D); zeros for levels without images."""
    number = int(level.max()) + 1
    sums = x.new_zeros(number, x.shape[1]).index_add_(0, level, x)
    return sums / level.bincount(minlength=number).clamp(min=1)[:, None]
