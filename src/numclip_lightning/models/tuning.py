"""Ways to tune a tower by few numbers: its singular values, updates of low rank, or its last blocks.

Sources: CLIP-SVD, arXiv 2509.03740 (singular values); Hu et al., "LoRA", ICLR 2022 (arXiv 2106.09685).

A weight W becomes W0 + change, W0 at rest, by `torch.nn.utils.parametrize`. So whoever reads a weight reads the tuned
one: also the fused attention, which never calls the layers whose weights it takes. The change starts at exactly 0, and
`merged` turns the weights of a tuned tower into those of a plain one.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.layers import STEM, TOP, image_layers
from numclip_lightning.models.text_tower import TextTower
from numclip_lightning.precision import without_autocast

__all__ = [
    "LowRank",
    "SingularValues",
    "is_tuned",
    "last_blocks",
    "merged",
    "plain_name",
    "reparametrise",
    "tower_layers",
    "with_cache",
]

State = Mapping[str, Tensor]

_ORIGINAL = re.compile(r"^(?:(.*)\.)?parametrizations\.(\w+)\.original$")
_TEXT_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.")
# What attention packs into one weight, query over key over value: in PyTorch, and in timm.
_PACKED = re.compile(r"(?:^|\.)(?:in_proj_weight|qkv\.weight)$")


class SingularValues(nn.Module):
    """The weight W0 + U diag(delta) V', with the singular vectors of W0: delta moves its singular values.

    The published form is U diag(S) V', with S trained. That is W0 up to rounding at the start, and weight decay pulls
    it to 0; here the start is exact, and weight decay pulls to W0.

    Args:
        weight: W0, of two dimensions or more; all but the first are one.
        blocks: How many matrices it has, one over the other: 3 for a packed query, key and value.

    Attributes:
        delta: What is trained, (blocks, min(out, in)), 0 at the start.
    """

    def __init__(self, weight: Tensor, blocks: int = 1) -> None:
        super().__init__()
        matrices = weight.detach().double().reshape(blocks, weight.shape[0] // blocks, -1)
        u, _, v = torch.linalg.svd(matrices, full_matrices=False)
        # Parameters at rest and not buffers, which DDP would send to all processes in every step.
        self.u, self.v = (nn.Parameter(found.to(weight.dtype), requires_grad=False) for found in (u, v))
        self.delta = nn.Parameter(torch.zeros(u.shape[0], u.shape[2], dtype=weight.dtype, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the tuned weight, of the same shape."""
        with without_autocast(weight.device.type):
            return weight + self.change(vars(self)["_parameters"]).view_as(weight)

    @staticmethod
    def change(parts: State) -> Tensor:
        """Return U diag(delta) V' of all matrices, (blocks, out, in)."""
        return (parts["u"] * parts["delta"][:, None]) @ parts["v"]


class LowRank(nn.Module):
    """The weight W0 + alpha / rank B A, with B of rank columns, 0 at the start, and A drawn as in a linear layer.

    Args:
        weight: W0, of two dimensions or more; all but the first are one.
        rank: Columns of B and rows of A.
        alpha: The factor of the change, times the rank.

    Attributes:
        a: A, (rank, in).
        b: B, (out, rank).
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        self.a = nn.Parameter(weight.new_empty(rank, weight[0].numel()))
        self.b = nn.Parameter(weight.new_zeros(len(weight), rank))
        self.factor = nn.Parameter(weight.new_tensor(alpha / rank), requires_grad=False)
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the tuned weight, of the same shape."""
        with without_autocast(weight.device.type):
            return weight + self.change(vars(self)["_parameters"]).view_as(weight)

    @staticmethod
    def change(parts: State) -> Tensor:
        """Return alpha / rank B A, (out, in)."""
        return parts["factor"] * (parts["b"] @ parts["a"])


_KINDS: dict[frozenset[str], Callable[[State], Tensor]] = {
    frozenset({"u", "v", "delta"}): SingularValues.change,
    frozenset({"a", "b", "factor"}): LowRank.change,
}


def tower_layers(tower: nn.Module) -> list[list[str]]:
    """Return the parameters of a tower by layer, from the lowest on: stem, blocks, and the top above the last block.

    Args:
        tower: The image tower of open_clip, or a `TextTower`.

    Raises:
        BackboneError: If its blocks are not known.
    """
    if not isinstance(tower, TextTower):
        found = image_layers(tower)
        blocks = [names for layer, names in found.items() if layer not in (STEM, TOP)]
        return [found.get(STEM, []), *blocks, found.get(TOP, [])]
    names = [name for name, _ in tower.named_parameters()]
    keyed: dict[int, list[str]] = {}
    for name in names:
        if match := _TEXT_BLOCK.match(name):
            keyed.setdefault(int(match[1]), []).append(name)
    stem = [name for name in names if name.split(".")[0] in ("token_embedding", "positional_embedding")]
    top = [name for name in names if name.split(".")[0] in ("ln_final", "projection")]
    return [stem, *(keyed[number] for number in sorted(keyed)), top]


def reparametrise(tower: nn.Module, names: Iterable[str], change: Callable[[Tensor, int], nn.Module]) -> int:
    """Give the matrices of a tower a change each: those of linear layers, convolutions and attention.

    Convolutions in groups are left out, whose channels have a small kernel each and no matrix.

    Args:
        tower: The tower.
        names: Names of parameters among which they are looked for.
        change: Returns the module of a change, from the weight and how many matrices it packs.

    Returns:
        How many weights have a change now.

    Raises:
        ConfigError: If there are no such weights.
    """
    wanted, own = set(names), dict(tower.named_modules())
    found = [
        (module, key)
        for place, module in own.items()
        for key, weight in list(module.named_parameters(recurse=False))
        if f"{place}.{key}".lstrip(".") in wanted and weight.dim() > 1 and _multiplies(module)
    ]
    if not found:
        raise ConfigError(f"the blocks of {type(tower).__name__} have no matrices to tune; set tune=full.")
    places = {module: place for place, module in own.items()}
    for module, key in found:
        blocks = 3 if _PACKED.search(f"{places[module]}.{key}") else 1
        weight = getattr(module, key)
        parametrize.register_parametrization(module, key, change(weight, blocks))
    return len(found)


def _multiplies(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.groups == 1
    return isinstance(module, nn.Linear | nn.MultiheadAttention)


def is_tuned(state: Iterable[str]) -> bool:
    """Return whether names of a `state_dict` are those of a tower whose weights have a change beside them."""
    return any(_ORIGINAL.match(name) for name in state)


def plain_name(name: str) -> str:
    """Return the name that a weight has in a plain tower.

    Example:
        >>> plain_name("blocks.0.fc.parametrizations.weight.original")
        'blocks.0.fc.weight'
        >>> plain_name("blocks.0.ln.weight")
        'blocks.0.ln.weight'
    """
    match = _ORIGINAL.match(name)
    return name if match is None else ".".join(filter(None, match.groups()))


def merged(state: State) -> dict[str, Tensor]:
    """Return the weights of a plain tower that computes what a tuned one does.

    Args:
        state: A `state_dict`, of a tower or of what contains it; a plain one is returned as it is.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    found = {}
    for name, value in state.items():
        if _ORIGINAL.match(name):
            parts[name.removesuffix("original") + "0."] = {"original": value}
    for name, value in state.items():
        start, _, key = name.rpartition(".")
        if f"{start}." in parts:
            parts[f"{start}."][key] = value
        elif not _ORIGINAL.match(name):
            found[name] = value
    for start, known in parts.items():
        weight = known.pop("original")
        change = _KINDS[frozenset(known)](known)
        found[plain_name(start.removesuffix("0.") + "original")] = weight + change.view_as(weight)
    return found


def with_cache() -> AbstractContextManager[Any]:
    """Return a context in which each tuned weight is computed once, however often it is read."""
    return parametrize.cached()


def last_blocks(layers: Sequence[Sequence[str]], blocks: int) -> list[str]:
    """Return the names in the last blocks and in the top; `layers` as `tower_layers` returns them."""
    return [name for layer in layers[max(1, len(layers) - 1 - blocks) :] for name in layer]
