"""RankFormer of L2RCLIP: attention among the words of all ranks."""

from collections.abc import Sequence

from torch import Tensor, nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.prompts import ConceptPrompts, Position

__all__ = ["OrderedPrompts"]

_HEAD_WIDTH = 64  # of every CLIP text tower


class OrderedPrompts(ConceptPrompts):
    """Concept prompts with a transformer over the tokens of all phrases, blended with the original phrases.

    `phrases <- blend * T(phrases) + (1 - blend) * phrases`. The layers of T start as the identity: token
    embeddings are small, and the output of random layers would be much larger.

    Args:
        clip: The model that the prompts are for; read here, not kept.
        template: The sentence around the phrase, with one `{}`.
        phrases: The words of each class, K in all.
        num_context: Number of random context tokens that replace the template's words; None keeps the words.
        position: Where the phrase is among random context tokens.
        num_layers: Layers of T.
        blend: Share of T's output, greater than 0 and at most 1.

    Attributes:
        rankformer: The transformer T.

    Raises:
        ConfigError: If an argument is out of range, or as for `ConceptPrompts`.
    """

    def __init__(
        self,
        clip: CLIPBackbone,
        template: str,
        phrases: Sequence[str],
        num_context: int | None,
        position: Position,
        num_layers: int,
        blend: float,
    ) -> None:
        if num_layers < 1:
            raise ConfigError(f"num_layers={num_layers} must be 1 or more")
        if not 0 < blend <= 1:
            raise ConfigError(f"blend={blend} must be greater than 0 (only the original words) and at most 1")
        super().__init__(clip, template, phrases, num_context, position)
        self.blend = blend
        width = clip.text_width
        num_heads = width // _HEAD_WIDTH if width % _HEAD_WIDTH == 0 else 1
        layer = nn.TransformerEncoderLayer(
            width, num_heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.rankformer = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        for copy in self.rankformer.layers:
            assert isinstance(copy, nn.TransformerEncoderLayer)
            nn.init.zeros_(copy.self_attn.out_proj.weight)
            nn.init.zeros_(copy.linear2.weight)
            nn.init.zeros_(copy.linear2.bias)

    def phrase_embeddings(self) -> Tensor:
        """Return the blended phrases (P, W)."""
        ordered: Tensor = self.rankformer(self.phrases[None])[0]
        return self.blend * ordered + (1 - self.blend) * self.phrases
