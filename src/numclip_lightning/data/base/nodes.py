"""Work that one process of a node does for all of them, such as reading every image once."""

from collections.abc import Callable
from typing import TypeVar

import lightning as L
import torch.distributed as dist

from numclip_lightning.errors import DataError

__all__ = ["once_per_node"]

T = TypeVar("T")


def once_per_node(work: Callable[[], T], trainer: L.Trainer | None) -> list[T]:
    """Do some work in the first process of each node; the others wait, and all fail if any does.

    Args:
        work: What is to be done.
        trainer: It knows the processes; None is one process.

    Returns:
        What the work has returned on each node, the same list in every process.

    Raises:
        DataError: What the work has raised, in every process.
    """
    if trainer is None or not (dist.is_available() and dist.is_initialized()):
        return [work()]
    own: tuple[list[T], str] = [], ""
    if trainer.local_rank == 0:
        try:
            own = [work()], ""
        except DataError as error:
            own = [], str(error)
    found: list[tuple[list[T], str]] = [own] * dist.get_world_size()
    dist.all_gather_object(found, own)
    if message := next(filter(None, (message for _, message in found)), ""):
        raise DataError(message)
    return [result for results, _ in found for result in results]
