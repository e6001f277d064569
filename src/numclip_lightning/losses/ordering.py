"""Losses of order: distances that follow the scale (L2RCLIP), comparisons of image pairs, of neighbouring levels.

L2RCLIP's two losses (Wang et al., NeurIPS 2023, arXiv 2306.13856) follow its published code; its paper may write them
in another form. In all, weights carry no gradient, pairs that don't exist add nothing, and half precision is computed
in float32.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from numclip_lightning.errors import ConfigError
from numclip_lightning.losses.checks import check_logits
from numclip_lightning.precision import at_least_float32

__all__ = ["image_order", "neighbour_order", "pair_fidelity", "pair_ranking", "prompt_order"]


def image_order(features: Tensor, prototypes: Tensor, rank: Tensor, values: Tensor) -> Tensor:
    """Pull each image to its prompt and push it away from distant prompts (L2RCLIP, stage 2).

    `mean_i |f_i - t_{y_i}|^2 - mean_{i,a} w_ia |f_i - t_a|` with `w = (d - min d) / max d` over the distances
    `d_ia = |v_{y_i} - v_a|` of the numbers.

    Args:
        features: Image features f of length one, (B, D).
        prototypes: Text features t of length one, (K, D).
        rank: The true class y of each image, int64 (B,), 0..K-1.
        values: The number v of each class, (K,).

    Returns:
        A scalar; float32, or float64 for float64 features. It can be negative.

    Raises:
        ConfigError: If the shapes don't fit.
    """
    features, prototypes = _checked(features, prototypes, rank, values)
    weights = _weights((values[rank, None] - values).abs())
    push = (weights * _distances(features, prototypes)).mean()
    return _pull(features, prototypes[rank]) - push


def prompt_order(features: Tensor, prototypes: Tensor, rank: Tensor, values: Tensor) -> Tensor:
    """Order the prompts of a batch's images, against the images and among themselves (L2RCLIP, stage 1).

    `0.5 mean_i |f_i - t_i|^2 - mean_{i<j} w_ij |f_i - t_j| - 0.5 mean_{i<j} w_ij |t_i - t_j|`, t_i being the prompt of
    image i's class, with `w = (d - min d) / max d` over the distances `d_ij = |v_i - v_j|` of the pairs i < j.

    Args:
        features: Image features f of length one, (B, D).
        prototypes: Text features of length one, (K, D).
        rank: The true class of each image, int64 (B,), 0..K-1.
        values: The number of each class, (K,).

    Returns:
        A scalar; float32, or float64 for float64 features. It can be negative; a batch of one image has no pairs.

    Raises:
        ConfigError: If the shapes don't fit.
    """
    features, prototypes = _checked(features, prototypes, rank, values)
    texts, numbers = prototypes[rank], values[rank]
    pull = 0.5 * _pull(features, texts)
    if len(rank) == 1:
        return pull
    first, second = torch.triu_indices(len(rank), len(rank), 1, device=rank.device)
    weights = _weights((numbers[first] - numbers[second]).abs())
    push = _distances(features, texts) + 0.5 * _distances(texts, texts)
    return pull - (weights * push[first, second]).mean()


def pair_ranking(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy over image pairs: is the first target larger? (RankingAwareCLIP, arXiv 2412.06760).

    The binary cross-entropy of `logits[a, b]` against `target_a > target_b`, over the ordered pairs whose targets
    differ.

    Args:
        logits: Logits of "a is larger than b", (B, B).
        target: The true numbers, (B,).

    Returns:
        The mean over the pairs, a scalar in float32 at least; 0 where all targets are equal.

    Raises:
        ConfigError: If the shapes don't fit.

    Example:
        >>> pair_ranking(torch.zeros(3, 3), torch.tensor([1.0, 5.0, 9.0]))
        tensor(0.6931)
    """
    if logits.shape != (len(target), len(target)):
        raise ConfigError(
            f"logits have shape {tuple(logits.shape)} for {len(target)} targets; give one for each ordered pair."
        )
    greater = target[:, None] > target
    differs = target[:, None] != target
    logits = at_least_float32(logits)
    loss = functional.binary_cross_entropy_with_logits(logits, greater.to(logits.dtype), reduction="none")
    return torch.where(differs, loss, 0.0).sum() / differs.sum().clamp(min=1)


def pair_fidelity(value: Tensor, target: Tensor) -> Tensor:
    """Fidelity loss of image pairs under Thurstone's model (LIQE): is the first one larger?

    `1 - sqrt(p p') - sqrt((1 - p)(1 - p'))` with `p' = Phi((q_a - q_b) / sqrt 2)`, the chance that a is larger if both
    values have noise of variance 1, and p the truth: 1, 0, or a half for equal targets.

    Source: Tsai et al., "FRank: A Ranking Method with Fidelity Loss", SIGIR 2007, equation 8; with Thurstone's model
    Zhang et al., CVPR 2023 (arXiv 2303.14968).

    Args:
        value: Predicted numbers q, in units of their noise, (B,).
        target: The true numbers, (B,).

    Returns:
        The mean over the pairs a < b, a scalar in 0..1, in float32 at least; 0 for a batch of one image.

    Raises:
        ConfigError: If the shapes don't fit.

    Example:
        >>> pair_fidelity(torch.zeros(2), torch.tensor([1.0, 5.0]))
        tensor(0.2929)
    """
    if value.ndim != 1 or value.shape != target.shape:
        raise ConfigError(
            f"value and target have the shapes {tuple(value.shape)} and {tuple(target.shape)}; give one number each."
        )
    q = at_least_float32(value)
    first, second = torch.triu_indices(len(q), len(q), 1, device=q.device)
    # In logarithms: a square root has no gradient at 0, where the normal distribution underflows.
    distance = (q[first] - q[second]) / math.sqrt(2)
    larger, smaller = (torch.special.log_ndtr(sign * distance) for sign in (1, -1))
    truth = ((target[first] - target[second]).sign().to(q.dtype) + 1) / 2
    likeness = truth.sqrt() * (larger / 2).exp() + (1 - truth).sqrt() * (smaller / 2).exp()
    loss: Tensor = (1 - likeness).sum() / max(len(first), 1)
    return loss


def neighbour_order(logits: Tensor, level: Tensor) -> Tensor:
    """Prefer of two neighbouring levels the one that is nearer to the truth, in both directions (CLIP-DR).

    `sum_k -log softmax(z_{y+k-1}, z_{y+k})_1` for k = 1, 2, ... up to the last level, and the same downwards: logits
    that fall on both sides of the true level cost least.

    Source: Yu et al., "CLIP-DR", MICCAI 2024 (arXiv 2407.04068), the ranking-aware prompting loss.

    Args:
        logits: Scaled similarities, (B, K), any floating dtype.
        level: The true level y of each image, int64 (B,), 0..K-1.

    Returns:
        The mean over the images of the sum over their K - 1 pairs, a scalar in float32 at least.

    Raises:
        ConfigError: If shapes or dtypes don't fit.

    Example:
        >>> neighbour_order(torch.zeros(2, 4), torch.tensor([0, 2]))  # 3 log 2
        tensor(2.0794)
    """
    z = check_logits(logits, level, "level")
    rises = z.diff(dim=1)
    behind = torch.arange(rises.shape[1], device=z.device) >= level[:, None]
    return functional.softplus(torch.where(behind, rises, -rises)).sum(dim=1).mean()


def _pull(features: Tensor, texts: Tensor) -> Tensor:
    return (features - texts).square().sum(dim=1).mean()


def _distances(features: Tensor, others: Tensor) -> Tensor:
    # By differences, not by products: equal features then have a distance of exactly 0, whose gradient is 0, not NaN.
    return torch.cdist(features, others, compute_mode="donot_use_mm_for_euclid_dist")


def _weights(distance: Tensor) -> Tensor:
    """Return 0 for the nearest; if all are equally near, 0 for all."""
    return (distance - distance.amin()) / distance.amax().clamp(min=torch.finfo(distance.dtype).tiny)


def _checked(features: Tensor, prototypes: Tensor, rank: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    if len(features) != len(rank) or len(prototypes) != len(values) or 0 in features.shape:
        raise ConfigError(
            f"{len(features)} features for {len(rank)} ranks, {len(prototypes)} prototypes for {len(values)} values; "
            "give one rank for each image, at least one, and one value for each prototype."
        )
    return at_least_float32(features), at_least_float32(prototypes)
