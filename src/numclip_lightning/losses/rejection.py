"""CLIPN's losses: teach a "no" prompt for each level which images do not show it.

Source: Wang et al., "CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No", ICCV 2023 (arXiv 2308.12213), section
3. With z the logits of the levels and z' those of their "no" prompts, `p = softmax(z, z')_0 = sigmoid(z - z')` is the
probability that an image shows a level.
"""

from torch import Tensor
from torch.nn import functional

from numclip_lightning.errors import ConfigError
from numclip_lightning.losses.checks import check_logits
from numclip_lightning.losses.fcrc import distance_weights_of
from numclip_lightning.precision import at_least_float32

__all__ = ["agreement", "apart_loss", "no_loss", "yes_loss"]

_ROOT = 1e-4  # under the root of `apart_loss`, as published


def yes_loss(yes: Tensor, no: Tensor, level: Tensor) -> Tensor:
    """Mean of `-log p` of each image and its true level: its own "no" must not speak.

    Args:
        yes: Logits z of the levels, (B, K).
        no: Logits z' of their "no" prompts, (B, K).
        level: True levels, int64 (B,), 0..K-1.

    Returns:
        A scalar in float32 or float64.

    Raises:
        ConfigError: If shapes or dtypes don't fit.

    Example:
        >>> import torch
        >>> yes_loss(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([0]))
        tensor(0.6931)
    """
    return functional.softplus(-_margins(yes, no, level).gather(1, level[:, None])).mean()


def no_loss(yes: Tensor, no: Tensor, level: Tensor) -> Tensor:
    """Mean of `-w log(1 - p)` of each image and each level that is not its own: their "no" must speak.

    Ours: w is FCRC's `distance_weights`, 1 on average. A picture of a 30-year-old is hardly told "no" by the level next
    door, and loudly by the farthest.

    Args:
        yes: As of `yes_loss`.
        no: As of `yes_loss`.
        level: As of `yes_loss`.

    Returns:
        A scalar; 0 where there is one level.

    Raises:
        ConfigError: If shapes or dtypes don't fit.

    Example:
        >>> import torch
        >>> no_loss(torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([0]))
        tensor(0.6931)
    """
    margins = _margins(yes, no, level)
    count, levels = margins.shape
    weights = distance_weights_of(level, levels, dtype=margins.dtype)
    weights = weights.scatter(1, level[:, None], 0.0)
    return (weights * functional.softplus(margins)).sum() / (count * max(levels - 1, 1))


def apart_loss(yes: Tensor, no: Tensor) -> Tensor:
    """Mean of `2 - |t - t'|`: a "no" prompt must not say the same as its "yes" (text semantic opposite).

    Args:
        yes: Prototypes t of the levels, of length one, (K, D).
        no: Those of their "no" prompts, likewise.

    Returns:
        A scalar in 0..2, but for the 1e-4 under the root.

    Example:
        >>> import torch
        >>> apart_loss(torch.eye(2), -torch.eye(2)).abs() < 1e-4  # opposite: nothing left to push apart
        tensor(True)
    """
    cosine = (at_least_float32(yes) * at_least_float32(no)).sum(dim=1)
    return (2 - (2 - 2 * cosine + _ROOT).clamp(min=_ROOT).sqrt()).mean()


def agreement(yes: Tensor, no: Tensor) -> Tensor:
    """Probability that an image shows any level: `sum_k p_k softmax(z)_k` (CLIPN's agreeing to differ).

    Args:
        yes: Logits z of the levels, (B, K).
        no: Logits z' of their "no" prompts, (B, K).

    Returns:
        (B,) in 0..1, in float32 or float64; 0.5 where "no" says the same as "yes".

    Example:
        >>> import torch
        >>> agreement(torch.tensor([[8.0, 0.0]]), torch.tensor([[0.0, 8.0]]))
        tensor([0.9993])
    """
    yes, no = at_least_float32(yes), at_least_float32(no)
    return ((yes - no).sigmoid() * yes.softmax(dim=1)).sum(dim=1)


def _margins(yes: Tensor, no: Tensor, level: Tensor) -> Tensor:
    if yes.shape != no.shape:
        raise ConfigError(f"yes has the shape {tuple(yes.shape)} and no {tuple(no.shape)}; give one logit of each.")
    return check_logits(yes, level, "level") - at_least_float32(no)
