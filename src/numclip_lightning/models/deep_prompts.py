"""Prompts with learned tokens inside the text tower too: each of its first blocks reads new ones (AnomalyCLIP)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from numclip_lightning.errors import BackboneError, ConfigError
from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.prompt_parts import INITIAL_STD
from numclip_lightning.models.prompts import ConceptPrompts
from numclip_lightning.models.text_tower import TextTower

__all__ = ["DeepPrompts"]


class DeepPrompts(ConceptPrompts):
    """`ConceptPrompts` whose first context tokens are replaced anew before each of the next blocks of the text tower.

    Source: Zhou et al., "AnomalyCLIP", ICLR 2024 (arXiv 2310.18961), section 3.2.

    Args:
        clip: The model that the prompts are for; read here, not kept.
        template: The sentence around the phrase, with one `{}`.
        phrases: The words of each level.
        num_context: Number M of random context tokens in front of the phrase.
        num_deep: How many of them are replaced, 0 to M.
        depth: How many blocks read learned tokens, the first one included; a tower with fewer has them in all.

    Attributes:
        deep: The tokens of the blocks after the first, (depth - 1, num_deep, W); None if there are none.

    Raises:
        ConfigError: If a number is out of its range, or as `ConceptPrompts`.
        BackboneError: If the text tower has no blocks to reach into.
    """

    def __init__(
        self,
        clip: CLIPBackbone,
        template: str,
        phrases: Sequence[str],
        num_context: int,
        num_deep: int,
        depth: int,
    ) -> None:
        super().__init__(clip, template, phrases, num_context)
        if not 0 <= num_deep <= num_context or depth < 1:
            raise ConfigError(
                f"deep_tokens={num_deep} and deep_blocks={depth}: give 0 to num_context={num_context} tokens, and 1 "
                "block or more."
            )
        later = min(depth, len(_blocks(clip.text))) - 1 if num_deep else 0
        shape = (later, num_deep, clip.text_width)
        self.deep = nn.Parameter(torch.empty(shape).normal_(std=INITIAL_STD)) if later > 0 else None

    @property
    def prefix(self) -> int:
        """No token: those of later blocks are put in by hooks, which see whole prompts."""
        return 0

    @contextmanager
    def inside(self, text: TextTower) -> Iterator[None]:
        """Let the text tower read the deep tokens while it encodes these prompts."""
        tokens = [] if self.deep is None else list(self.deep)
        hooks = [
            block.register_forward_pre_hook(partial(_replace, own))
            for block, own in zip(_blocks(text)[1:] if tokens else [], tokens, strict=False)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _replace(own: Tensor, _block: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Put tokens in the places after the start: (N, L, W)."""
    x, *rest = arguments
    new = own.to(x.dtype).expand(len(x), -1, -1)
    return torch.cat([x[:, :1], new, x[:, 1 + len(own) :]], dim=1), *rest


def _blocks(text: TextTower) -> Sequence[nn.Module]:
    blocks: Any = getattr(text.transformer, "resblocks", None)
    if blocks is None or not getattr(text.transformer, "batch_first", True):
        raise BackboneError(
            f"the text tower's {type(text.transformer).__name__} has no blocks that take learned tokens; set "
            "deep_tokens=0"
        )
    return list(blocks)
