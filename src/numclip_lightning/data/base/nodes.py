"""Work that one process of a node does for all of them, such as reading every image once."""

from collections.abc import Callable

import lightning as L
import torch.distributed as dist

from numclip_lightning.errors import DataError

__all__ = ["once_per_node"]


def once_per_node(work: Callable[[], None], trainer: L.Trainer | None) -> None:
    """Do some work in the first process of each node; the others wait, and all fail if any does.

    Args:
        work: What is to be done.
        trainer: It knows the processes; None is one process.

    Raises:
        DataError: What the work has raised, in every process.
    """
    if trainer is None or not (dist.is_available() and dist.is_initialized()):
        work()
        return
    own = ""
    if trainer.local_rank == 0:
        try:
            work()
        except DataError as error:
            own = str(error)
    found: list[str] = [""] * dist.get_world_size()
    dist.all_gather_object(found, own)
    if message := next(filter(None, found), ""):
        raise DataError(message)
