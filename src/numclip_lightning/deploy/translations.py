"""PyTorch's operations that ONNX has no word for, in operations that it has."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["translated"]


def translated(program: Any) -> Any:
    """Rewrite a program so that ONNX can say all of it; its numbers stay the same to the bit.

    Args:
        program: An ExportedProgram.
    """
    used = {node.target for node in program.graph.nodes}
    table = {operation: said for operation, said in _TRANSLATIONS.items() if operation in used}
    return program.run_decompositions(table) if table else program


def cumulative_minimum(values: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return `torch.cummin` in log2(n) steps, each of which looks twice as far back as the one before.

    Source: Hillis and Steele, "Data parallel algorithms", Communications of the ACM, 1986.

    Args:
        values: Any tensor.
        dim: The dimension to go along.

    Returns:
        The least value up to each place, and where it is; the last of equals.

    Example:
        >>> [found.tolist() for found in cumulative_minimum(torch.tensor([3.0, 1.0, 2.0, 1.0]), 0)]
        [[3.0, 1.0, 1.0, 1.0], [0, 1, 1, 3]]
    """
    least = values.movedim(dim, -1)
    size, step = least.shape[-1], 1
    place = torch.arange(size, device=values.device).expand(least.shape)
    while step < size:
        # Before the first value nothing is less: what is there already stands.
        before, where = (torch.cat([found[..., :step], found[..., :-step]], dim=-1) for found in (least, place))
        is_less = before < least
        least, place = torch.where(is_less, before, least), torch.where(is_less, where, place)
        step *= 2
    return least.movedim(-1, dim), place.movedim(-1, dim)


_TRANSLATIONS: dict[Any, Callable[..., Any]] = {torch.ops.aten.cummin.default: cumulative_minimum}
