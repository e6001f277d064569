"""What the processes of a run know, each for itself, brought together."""

from typing import TypeVar

import lightning as L
import torch.distributed as dist

__all__ = ["of_all_processes"]

Own = TypeVar("Own")


def of_all_processes(own: Own, trainer: L.Trainer) -> list[Own]:
    """Return what each process has, by its number, in every one of them; all must call it at the same place.

    Args:
        own: What this process has; it can be pickled. One process alone gets it back as it is.
        trainer: It knows the processes.
    """
    if trainer.world_size == 1:
        return [own]
    shares = [own] * trainer.world_size
    dist.all_gather_object(shares, own)
    return shares
