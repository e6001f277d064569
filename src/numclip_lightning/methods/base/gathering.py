"""One batch of all processes, for losses that contrast the images of a batch; gradients go back to where they belong.

Such a loss depends on which images are together: k processes with b images each have k small contrasts in the place of
one of k*b. With the outputs gathered, every process computes the loss of all k*b images. The gradient that an output
gets is then the sum of k equal ones, and DDP's mean over the processes leaves one: the gradient of one process.

Source: Radford et al., "CLIP", ICML 2021, section 2.5, which shards the similarities of one large batch.
"""

from collections.abc import Collection
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from numclip_lightning.methods.base.types import Batch, Output

__all__ = ["gather_batch"]

# What losses do not read, and all processes need not see.
_LARGE = ("image", "features")


def gather_batch(output: Output, batch: Batch, shared: Collection[str] = ()) -> tuple[Output, Batch]:
    """Return the output and the numbers of the images of all processes, in the order that one process would have.

    Args:
        output: The output for the images of this process; all processes have equally many.
        batch: Their targets, levels and so on, (B,).
        shared: The names of extras that are not of images but the same everywhere, such as prototypes.

    Returns:
        The same for all W * B images; unchanged if there is one process.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return output, batch
    extras = {name: found if name in shared else _joined(found) for name, found in output.extras.items()}
    numbers = {name: _joined(found) if found.ndim else found for name, found in batch.items() if name not in _LARGE}
    return Output(_joined(output.logits), _joined(output.value), extras), numbers


def _joined(own: Tensor) -> Tensor:
    """Return the rows of all processes, (W * B, ...): the first of each, then the second, as they were drawn."""
    gathered: Tensor = _Gather.apply(own)
    return gathered.transpose(0, 1).flatten(0, 1)


class _Gather(torch.autograd.Function):
    """The tensors of all processes, (W, ...). torch's own with gradients has another name in each of its versions."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:  # noqa: ARG004
        own = own.contiguous()
        shares = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(shares, own)
        return torch.stack(shares)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient[dist.get_rank()]
