"""Prompts that come in pairs: one that says the level, and a learned one that says that it is not there."""

from collections.abc import Sequence

import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.prompts import ConceptPrompts, Position
from numclip_lightning.models.text_tower import TextTower

__all__ = ["YesNoPrompts"]


class YesNoPrompts(ConceptPrompts):
    """Prompts of K levels, then K "no" prompts: the same words in another learned context, which all levels share.

    Args:
        clip: The model that the prompts are for; read here, not kept.
        template: The sentence around the phrase, with one `{}`.
        phrases: The words of each level.
        num_context: Number of random context tokens of the "no" prompts.
        position: Where the phrase is among them.

    Attributes:
        no: The "no" prompts.

    Raises:
        ConfigError: As `ConceptPrompts`.
    """

    def __init__(
        self, clip: CLIPBackbone, template: str, phrases: Sequence[str], num_context: int, position: Position = "tail"
    ) -> None:
        super().__init__(clip, template, phrases)
        self.no = ConceptPrompts(clip, template, phrases, num_context, position)

    @property
    def no_context(self) -> torch.nn.Parameter:
        """The learned context, (M, W)."""
        if self.no.context is None:
            raise ConfigError("the no prompts have no context; set num_context to 1 or more.")
        return self.no.context

    def forward(self, text: TextTower) -> tuple[Tensor, Tensor]:
        """Assemble the prompts: embeddings (2K, L, W) and the position (2K,) of each end-of-text token."""
        parts = [super().forward(text), self.no(text)]
        longest = max(embeddings.shape[1] for embeddings, _ in parts)
        padding = text.token_embedding(self.fixed[2])
        filled = []
        for embeddings, _ in parts:
            missing = padding.expand(len(embeddings), longest - embeddings.shape[1], -1)
            filled.append(torch.cat([embeddings, missing], dim=1))
        return torch.cat(filled), torch.cat([end for _, end in parts])
