"""What stands in the place of a text tower whose prototypes are computed: nothing but a message."""

from typing import Any

from torch import nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.text_tower import TextTower

__all__ = ["ReleasedText"]

_PARTS = frozenset(TextTower.__annotations__) | {
    "token_embedding", "positional_embedding", "transformer", "ln_final", "projection",
    "context_length", "start_id", "end_id", "pad_id", "_pool", "_stops_at_end",
}  # fmt: skip


class ReleasedText(TextTower):
    """A text tower without weights; whatever asks it for a part gets a message.

    Raises:
        ConfigError: From every use.
    """

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def set_checkpointing(self, enabled: bool) -> None:
        """Do nothing: no block is left, and a test or a prediction that ends sets its method back."""

    def __getattr__(self, name: str) -> Any:
        """Say that a part is gone."""
        if name in _PARTS:
            raise ConfigError(
                "the text tower was released after its prototypes were computed, and this needs it: "
                "load the model again and keep it (OrdinalPredictor.load(..., keep_text=True), numclip fit)."
            )
        return super().__getattr__(name)
