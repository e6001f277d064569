"""How unsure a distribution over classes is, as one factor for each image.

Source: AMU-Tuning (arXiv 2404.08958), section 3.4, and its published code.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from numclip_lightning.precision import at_least_float32

__all__ = ["Uncertainty", "uncertainty"]

Uncertainty = Literal["none", "entropy", "max", "max_min", "top5", "moment", "spread"]

# Least number that is divided by: equal probabilities would give infinity.
_LEAST = 1e-6


def uncertainty(kind: Uncertainty, logits: Tensor, power: float, centers: Tensor, step: float) -> Tensor:
    """Return how unsure each image's distribution is.

    With p = softmax(logits) and r = `power`: `entropy` is exp(r H / log2 C), H in bits; `max` is 1 / max(p)^r;
    `max_min` 1 / (max p - min p)^r; `top5` 1 / (p1 - p5)^r; `moment` (C / 4 / m4)^r, m4 being the mean of
    ((p - mean) / std)^4. Published is 250 for C / 4, which suits 1,000 classes alone. `spread` is ours, for an ordered
    scale: 1 + r s / step with the standard deviation s of p on the scale, so that neighbours at 50 to 50 count as sure
    and the ends of the scale at 50 to 50 as unsure.

    Args:
        kind: Which; `none` is 1 for all.
        logits: (B, C).
        power: r, 0 or more.
        centers: The number of each class, (C,), in the target's unit.
        step: The distance between two values of the scale.

    Returns:
        (B, 1), in float32 at least.
    """
    p = at_least_float32(logits).softmax(dim=-1)
    if kind == "none" or p.shape[1] < 2:
        return torch.ones_like(p[:, :1])
    if kind == "entropy":
        bits = -(p * p.clamp(min=torch.finfo(p.dtype).tiny).log2()).sum(dim=-1, keepdim=True)
        return torch.exp(power * bits / math.log2(p.shape[1]))
    if kind == "spread":
        mean = (p * centers).sum(dim=-1, keepdim=True)
        return 1 + power * (p * (centers - mean).square()).sum(dim=-1, keepdim=True).sqrt() / step
    return _CONFIDENCE[kind](p).clamp(min=_LEAST) ** -power


def _peak(p: Tensor) -> Tensor:
    return p.amax(dim=-1, keepdim=True)


def _range(p: Tensor) -> Tensor:
    return _peak(p) - p.amin(dim=-1, keepdim=True)


def _top5(p: Tensor) -> Tensor:
    top = p.topk(min(5, p.shape[1]), dim=-1).values
    return top[:, :1] - top[:, -1:]


def _moment(p: Tensor) -> Tensor:
    away = p - p.mean(dim=-1, keepdim=True)
    variance = away.square().mean(dim=-1, keepdim=True)
    # 1 is the least fourth moment of all, and what equal probabilities tend to.
    fourth = away.pow(4).mean(dim=-1, keepdim=True) / variance.square().clamp(min=torch.finfo(p.dtype).tiny)
    return fourth.clamp(min=1) * 4 / p.shape[1]


_CONFIDENCE: dict[str, Callable[[Tensor], Tensor]] = {"max": _peak, "max_min": _range, "top5": _top5, "moment": _moment}
