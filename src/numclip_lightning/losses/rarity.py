"""Weights and prior probabilities of ranks, from how many training images each has (label distribution smoothing).

Source: Yang et al., "Delving into Deep Imbalanced Regression", ICML 2021 (arXiv 2102.09554), for the smoothing.
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from numclip_lightning.errors import ConfigError, check_choice

__all__ = ["RankWeights", "log_prior", "rank_weights", "smooth_ranks", "smoothing_kernel", "weighted_mean"]

RankWeights = Literal["inverse", "sqrt", "lds", "sqrt_lds"]

# Images that a rank without any counts as in a prior: its logarithm stays finite.
_UNSEEN = 0.5


def weighted_mean(loss: Callable[..., Tensor], weight: Tensor | None, *tensors: Tensor) -> Tensor:
    """Mean of a loss over images, each image's times its weight: `mean_b w_b l_b`.

    Weights have a mean of 1 over the training images, not in each batch: dividing by the sum of a batch would give a
    rare image less where it meets another rare one.

    Args:
        loss: A mean over images; what it returns for a batch of one is the loss of that image.
        weight: The weight of each image, (B,); None calls the loss with the whole batch.
        tensors: Its arguments, (B, ...) each.

    Returns:
        A scalar.

    Example:
        >>> from torch.nn.functional import l1_loss
        >>> value, target = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 5.0])
        >>> weighted_mean(l1_loss, torch.tensor([1.5, 0.5]), value, target)
        tensor(1.5000)
    """
    if weight is None:
        return loss(*tensors)
    each: Tensor = torch.vmap(lambda *one: loss(*(tensor.unsqueeze(0) for tensor in one)))(*tensors)
    return (weight * each).mean()


def smoothing_kernel(num_ranks: int, size: int, sigma: float) -> Tensor:
    """Gaussian of the distance of two ranks, 0 beyond `size // 2` steps.

    Args:
        num_ranks: R.
        size: Ranks that one rank is smoothed over, odd.
        sigma: Its standard deviation in steps.

    Returns:
        float64 (R, R), symmetric, 1 on the diagonal.
    """
    ranks = torch.arange(num_ranks, dtype=torch.float64)
    distance = (ranks[:, None] - ranks).abs()
    return torch.where(distance <= size // 2, (-((distance / sigma) ** 2) / 2).exp(), 0.0)


def smooth_ranks(counts: Tensor, size: int = 5, sigma: float = 2.0) -> Tensor:
    """Smooth a histogram over the ranks: `sum_j k(r, j) n_j / sum_d k(d)`; beyond the ends there is nothing.

    Args:
        counts: Images of each rank, (R,).
        size: See `smoothing_kernel`.
        sigma: See `smoothing_kernel`.

    Returns:
        float64 (R,).
    """
    reach = torch.arange(-(size // 2), size // 2 + 1, dtype=torch.float64)
    kernel = (-((reach / sigma) ** 2) / 2).exp()
    # Not by the matrix of `smoothing_kernel`, which is 800 MB for ten thousand ranks.
    smooth = functional.conv1d(counts.double()[None, None], kernel[None, None], padding=size // 2)
    return smooth[0, 0] / kernel.sum()


def rank_weights(counts: Tensor, kind: RankWeights, clip: float = 10.0, size: int = 5, sigma: float = 2.0) -> Tensor:
    """Weight of each rank, large where images are rare, with a mean of 1 over the images.

    Args:
        counts: Training images of each rank, (R,), at least one in all.
        kind: `inverse` is 1 / n, `sqrt` is 1 / sqrt(n), `lds` and `sqrt_lds` the same of the smoothed histogram.
        clip: The largest weight as a multiple of the least, at least 1; a rank without images has it.
        size: Of the smoothing, see `smoothing_kernel`.
        sigma: Of the smoothing, see `smoothing_kernel`.

    Returns:
        float64 (R,).

    Raises:
        ConfigError: If `kind` is unknown, or there are no images.

    Example:
        >>> rank_weights(torch.tensor([8, 2]), "inverse")
        tensor([0.6250, 2.5000], dtype=torch.float64)
    """
    check_choice("kind", kind, get_args(RankWeights))
    if not counts.sum() > 0:
        raise ConfigError("weights of ranks need training images, but there are none.")
    share = smooth_ranks(counts, size, sigma) if kind.endswith("lds") else counts.double()
    rarity = share.max() / share
    weights = (rarity.sqrt() if kind.startswith("sqrt") else rarity).clamp(max=clip)
    return weights * counts.sum() / (counts * weights).sum()


def log_prior(counts: Tensor, smooth: bool = False, size: int = 5, sigma: float = 2.0) -> Tensor:
    """Logarithm of the probability of each rank (or level) among the training images.

    Args:
        counts: Training images of each, (R,), at least one in all.
        smooth: Smooth the histogram first.
        size: Of the smoothing, see `smoothing_kernel`.
        sigma: Of the smoothing, see `smoothing_kernel`.

    Returns:
        float64 (R,), finite: a rank without images counts as half an image.
    """
    share = (smooth_ranks(counts, size, sigma) if smooth else counts.double()).clamp(min=_UNSEEN)
    return (share / share.sum()).log()
