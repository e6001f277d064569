"""RAdam as the code of OrdinalCLIP and NumCLIP has it: nothing moves before the rectification begins."""

from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

__all__ = ["PublishedRAdam"]

_RECTIFIED_ABOVE = 5  # the length of the average, rho_t, from which on its variance is known


class PublishedRAdam(torch.optim.RAdam):
    r"""RAdam that rests until it can rectify.

    With $\rho_\infty = 2 / (1 - \beta_2) - 1$ and $\rho_t = \rho_\infty - 2 t \beta_2^t / (1 - \beta_2^t)$, a step
    moves a parameter only if $\rho_t > 5$: with the usual betas from its sixth step on. Before that its averages are
    updated, and nothing else is; `torch.optim.RAdam` takes steps of plain momentum there. Later steps are those of
    `torch.optim.RAdam`. Decay is decoupled from the gradient (the parameter shrinks by `lr * weight_decay`), and a step
    that rests does not decay either.

    Each parameter counts its own steps, those in which it has a gradient.

    Source: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", ICLR 2020 (arXiv 1908.03265),
    algorithm 2, without its steps of plain momentum, as OrdinalCLIP and NumCLIP use it.

    Args:
        params: Parameters or parameter groups.
        lr: The learning rate.
        betas: How much of the averages of the gradient and of its square is kept in a step, each in [0, 1).
        eps: Added to the root of the average square.
        weight_decay: The decoupled decay, in units of the learning rate.
        foreach: Whether all parameters are updated in one call for each operation; None lets torch choose.
        maximize: Whether to climb.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = PublishedRAdam([weight], lr=0.1)
        >>> for step in range(6):
        ...     weight.grad = torch.ones(1)
        ...     optimizer.step()
        ...     print(step + 1, f"{weight.item():.4f}")
        1 1.0000
        2 1.0000
        3 1.0000
        4 1.0000
        5 1.0000
        6 0.9974
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, decoupled_weight_decay=True, foreach=foreach, maximize=maximize
        )

    def _init_group(self, group: dict[str, Any], *lists: list[Tensor]) -> bool:
        """Collect what a step of torch's RAdam moves; take the step of every other parameter here.

        Overridden although it is private: torch wraps each `step` of a class in the hooks of the optimiser, so that
        with one of our own around RAdam's they would run twice.

        Torch calls it in each step, after the closure and without gradients, with five empty lists: parameters,
        gradients, both averages and step counts.
        """
        found: list[list[Tensor]] = [[] for _ in lists]
        has_complex: bool = super()._init_group(group, *found)  # type: ignore[no-untyped-call]
        beta1, beta2 = group["betas"]
        for row in zip(*found, strict=True):
            _, gradient, average, square, steps = row
            if _length(float(steps) + 1, beta2) > _RECTIFIED_ABOVE:
                for kept, tensor in zip(lists, row, strict=True):
                    kept.append(tensor)
                continue
            steps += 1
            # As torch does it, so that the averages fit the later steps.
            gradient = -gradient if group["maximize"] else gradient
            if torch.is_complex(gradient):
                gradient, average, square = map(torch.view_as_real, (gradient, average, square))
            average.lerp_(gradient, 1 - beta1)
            square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        return has_complex


def _length(step: float, beta2: float) -> float:
    """Return rho_t, the length of the simple average that the moving average of step t stands for."""
    power = beta2**step
    return float(2 / (1 - beta2) - 1 - 2 * step * power / (1 - power))
