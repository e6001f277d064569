"""Losses for few images of some numbers: Balanced MSE, and a contrast of images that the model confuses (ConR).

Both compare the images of one batch of one process. Half precision is computed in float32.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from numclip_lightning.errors import ConfigError
from numclip_lightning.precision import at_least_float32

__all__ = ["balanced_mse", "conr"]


def balanced_mse(value: Tensor, target: Tensor, noise: float) -> Tensor:
    """Squared error that does not favour frequent numbers: which target of the batch does the value belong to?

    `-2 s^2 mean_i log(exp(-(v_i - y_i)^2 / 2 s^2) / sum_j exp(-(v_i - y_j)^2 / 2 s^2))`.

    Source: Ren et al., "Balanced MSE for Imbalanced Visual Regression", CVPR 2022 (arXiv 2203.16427), the batch-based
    Monte-Carlo form (BMC), which needs no histogram; s is given here, not learned.

    Args:
        value: Predicted numbers v, (B,).
        target: True numbers y, (B,).
        noise: s, in their unit, greater than 0: about the error that the model will keep. A small s approaches twice
            the distance to the nearest target; a large one the plain squared error, up to a constant.

    Returns:
        A scalar, in squared units.

    Raises:
        ConfigError: If shapes don't fit or `noise` is not positive.

    Example:
        >>> balanced_mse(torch.tensor([0.0, 0.0]), torch.tensor([0.0, 10.0]), noise=1.0)
        tensor(50.)
    """
    if value.ndim != 1 or value.shape != target.shape or not len(value):
        raise ConfigError(f"values of shape {tuple(value.shape)} and targets {tuple(target.shape)}; give one of each.")
    if not (math.isfinite(noise) and noise > 0):
        raise ConfigError(f"noise is {noise}; give a positive number, in the target's unit.")
    value = at_least_float32(value)
    logits = -(value[:, None] - target.to(value.dtype)).square() / (2 * noise**2)
    return -2 * noise**2 * logits.log_softmax(dim=1).diagonal().mean()


def conr(
    features: Tensor,
    value: Tensor,
    target: Tensor,
    width: float,
    weight: Tensor | None = None,
    temperature: float = 0.07,
    push: float = 0.01,
) -> Tensor:
    """Contrast of images whose numbers differ but whose predictions don't (ConR).

    For image i, positives are the others with `|y_i - y_j| <= width`; negatives lie beyond it, but their predictions
    within: `|v_i - v_j| <= width`. With `s_ij = f_i f_j / temperature` of features of length one, the loss of i is
    `mean_p -log(exp(s_ip) / (sum_p' exp(s_ip') + sum_n w_i exp(push |y_i - y_n|) exp(s_in)))`, and 0 where there are
    no positives or no negatives.

    Source: Keramati et al., "ConR: Contrastive Regularizer for Deep Imbalanced Regression", ICLR 2024
    (arXiv 2309.06651).

    Args:
        features: (B, D), of any length.
        value: Predicted numbers v, (B,); they carry no gradient.
        target: True numbers y, (B,).
        width: In the target's unit, greater than 0.
        weight: How rare the number of each image is, w, (B,); None is 1 for all.
        temperature: Greater than 0.
        push: How much harder a negative is pushed for each unit of distance.

    Returns:
        The mean over the images, a scalar.

    Raises:
        ConfigError: If features are no vectors, or `width` or `temperature` is not positive.
    """
    if features.ndim != 2 or len(features) != len(target):
        raise ConfigError(
            f"ConR compares one feature vector for each image, but features have shape {tuple(features.shape)} for "
            f"{len(target)} images."
        )
    for name, number in (("width", width), ("temperature", temperature)):
        if not (math.isfinite(number) and number > 0):
            raise ConfigError(f"ConR's {name} is {number}; give a positive number.")
    compared = functional.normalize(at_least_float32(features), dim=1)
    similarity = compared @ compared.T / temperature
    distance, alike = (target[:, None] - target).abs(), (value[:, None] - value).abs().detach() <= width
    positive = (distance <= width) & ~torch.eye(len(target), dtype=torch.bool, device=target.device)
    negative = (distance > width) & alike
    pushed = similarity + push * distance
    if weight is not None:
        pushed = pushed + weight.to(pushed.dtype).log()[:, None]
    joined = torch.where(positive, similarity, torch.where(negative, pushed, -math.inf))
    counted = positive.any(dim=1) & negative.any(dim=1)
    # Rows that don't count are replaced before the logarithm: an infinity would make their gradient NaN.
    total = torch.where(counted[:, None], joined, 0.0).logsumexp(dim=1)
    each = torch.where(positive, total[:, None] - similarity, 0.0).sum(dim=1) / positive.sum(dim=1).clamp(min=1)
    return torch.where(counted, each, 0.0).mean()
