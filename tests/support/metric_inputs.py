"""Random inputs for metrics of values, levels and probabilities, with ties, gaps and chosen sizes."""

import torch
from torch import Tensor

from numclip_lightning.scale import Level, OrdinalScale

__all__ = ["LEVELS", "SCALE", "draw", "draw_levels", "draw_probabilities", "draw_values"]

LEVELS = 5
SCALE = OrdinalScale(
    minimum=0,
    maximum=20,
    levels=[Level(phrase, start) for phrase, start in zip("abcde", (0, 1, 5, 6, 15), strict=True)],
)


def draw_values(size: int, seed: int, *, step: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return predicted and true values of 0..20, float32 of shape (size,).

    Predictions are rounded to multiples of a step.
    """
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 21, (size,), generator=generator).float()
    preds = 2 + 0.7 * target + 3 * torch.randn(size, generator=generator)
    return ((preds / step).round() * step if step else preds), target


def draw_levels(size: int, seed: int, among: tuple[int, ...] = (0, 1, 2, 3, 4)) -> tuple[Tensor, Tensor]:
    """Return predicted levels (any of all) and true levels (of those given), int64 of shape (size,)."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.tensor(among)[torch.randint(0, len(among), (size,), generator=generator)]
    anything = torch.randint(0, LEVELS, (size,), generator=generator)
    return torch.where(torch.rand(size, generator=generator) < 0.6, target, anything), target


def draw_probabilities(size: int, seed: int, num_levels: int = LEVELS) -> Tensor:
    """Return distributions over levels, float64 of shape (size, K), some of them nearly sure."""
    generator = torch.Generator().manual_seed(seed)
    return (4 * torch.randn(size, num_levels, generator=generator)).double().softmax(dim=1)


def draw(needs: str, size: int, seed: int) -> tuple[Tensor, ...]:
    """Return what `update` of a metric takes that needs values, levels, probabilities or a distribution."""
    probabilities = draw_probabilities(size, seed).float()
    values, levels = draw_values(size, seed), draw_levels(size, seed)
    return {
        "value": values,
        "level": levels,
        "probabilities": (probabilities, levels[1]),
        "distribution": (probabilities, values[1]),
        "value_by_level": (*values, SCALE.to_level(values[1])),
        "value and rank": (*values, levels[1]),
    }[needs]
