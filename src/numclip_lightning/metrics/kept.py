"""The base of metrics that keep every sample, as ranks and medians need them all."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["KeptSamples"]


class KeptSamples(Metric):
    """A metric whose states are all samples so far, each state of one dtype in every process.

    Args:
        names: The states; each is a list of tensors of shape (B,).
        dtype: What the tensors are.
    """

    full_state_update = False

    def __init__(self, *names: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.names = names
        self.kept_dtype = dtype
        for name in names:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def keep(self, *samples: Tensor) -> None:
        """Add a batch: a tensor of shape (B,) for each state."""
        for name, part in zip(self.names, samples, strict=True):
            getattr(self, name).append(part)

    def kept(self) -> list[Tensor]:
        """Return all samples, a tensor of shape (N,) for each state."""
        states = [getattr(self, name) for name in self.names]
        # After a synchronisation torchmetrics leaves one tensor in the place of the list.
        return [state if isinstance(state, Tensor) else torch.cat([self._nothing(), *state]) for state in states]

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Join the samples of all processes, with none of the right dtype from a process that has got no sample.

        torchmetrics would send none of float32 from there, and where the others send float64, Gloo aborts the process.
        """
        for name in self.names:
            state = getattr(self, name)
            if isinstance(state, list) and not state:
                state.append(self._nothing())
        super().sync(*args, **kwargs)

    def _nothing(self) -> Tensor:
        return torch.empty(0, dtype=self.kept_dtype, device=self.device)
