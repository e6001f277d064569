"""Optimisers that ask for second derivatives, such as Sophia: what they need of a backward pass and exclude."""

import inspect
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from numclip_lightning.errors import ConfigError

__all__ = ["asks_for_hessian", "backward_twice", "check_second_order", "twice_differentiable"]


def asks_for_hessian(kind: type[torch.optim.Optimizer]) -> bool:
    """Return whether an optimiser estimates second derivatives from gradients that can be differentiated again."""
    return "hessian" in inspect.signature(kind.step).parameters


def check_second_order(name: str, trainer: L.Trainer) -> None:
    """Refuse what would make gradients and their derivatives disagree.

    Args:
        name: The optimiser, for the message.
        trainer: The trainer of the fit.

    Raises:
        ConfigError: If gradients would be scaled, clipped, added up or exchanged between backward pass and step.
    """
    wrong = {
        "trainer.precision=16-mixed scales the loss": str(trainer.precision) == "16-mixed",
        "trainer.gradient_clip_val clips gradients": bool(trainer.gradient_clip_val),
        "trainer.accumulate_grad_batches adds up gradients": trainer.accumulate_grad_batches > 1,
        "several processes exchange gradients": trainer.world_size > 1,
    }
    if found := [what for what, is_so in wrong.items() if is_so]:
        raise ConfigError(
            f"optimizer {name} estimates second derivatives from the gradients of one batch, and {found[0]}, which "
            "these derivatives do not follow; leave that out, or choose another optimizer."
        )


def twice_differentiable(needed: bool) -> AbstractContextManager[Any]:
    """Return a context in which attention has second derivatives, which the fused kernels lack."""
    return sdpa_kernel(SDPBackend.MATH) if needed else nullcontext()


def backward_twice(loss: Tensor, parameters: Iterable[nn.Parameter]) -> None:
    """Set gradients that can be differentiated again; by assignment, because `backward` would warn of a cycle.

    Args:
        loss: The loss, computed under `twice_differentiable`.
        parameters: What is trained.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    found = torch.autograd.grad(loss, trained, create_graph=True, allow_unused=True)
    for parameter, gradient in zip(trained, found, strict=True):
        # Where a gradient depends on no parameter (a linear loss), its derivative is 0 and not missing.
        parameter.grad = None if gradient is None else gradient + 0 * parameter
