"""Text tower of a CLIP model, with token embeddings as input in place of token ids."""

from typing import Any

import open_clip
import torch
from open_clip.transformer import ResidualAttentionBlock, TextTransformer
from torch import Tensor, nn

from numclip_lightning.errors import BackboneError, ConfigError
from numclip_lightning.models.length_buckets import LengthBuckets
from numclip_lightning.models.shared_prefix import encode_with_prefix

__all__ = ["WORTH_A_PASS", "TextTower", "unsupported_text"]

# Tokens that a further pass must save. For a handful of prompts two short passes take longer than one.
WORTH_A_PASS = 128


def unsupported_text(backbone: str, found: str) -> BackboneError:
    """Return the error for a model whose text side can't take learned prompts.

    Args:
        backbone: The model's name, as the user gave it.
        found: The class in the way, in open_clip's terms.
    """
    return BackboneError(
        f"backbone={backbone!r} reads text through open_clip's {found}, which can't take learned prompt embeddings; "
        "use a CLIP or CustomTextCLIP model with open_clip's TextTransformer and SimpleTokenizer, "
        "such as 'ViT-B-16-quickgelu'"
    )


class TextTower(nn.Module):
    """Text tower of a CLIP model, with token embeddings as input in place of token ids.

    Its features equal open_clip's `encode_text` for the same tokens. A causal tower that reads its feature at the
    end-of-text token never looks past that token, so it runs only over the given tokens. For any other tower, prompts
    are padded to its full context, as open_clip does.

    Args:
        model: A `CLIP` or `CustomTextCLIP` of open_clip.
        tokenizer: Its tokenizer.
        name: The model's name, for error messages.

    Attributes:
        width: Size W of a token embedding.
        context_length: The most tokens of a prompt, start and end included.
        embed_dim: Size D of a text feature.
        start_id: Id of the start-of-text token.
        end_id: Id of the end-of-text token.
        pad_id: Id of the padding token after the end.

    Raises:
        BackboneError: If the tower can't take embeddings, or does not match its tokenizer.
    """

    mask: Tensor | None

    def __init__(self, model: nn.Module, tokenizer: open_clip.SimpleTokenizer, name: str) -> None:
        super().__init__()
        tower, pool, eos_id = _find_text_tower(model, name)
        self.token_embedding: nn.Embedding = tower.token_embedding
        self.positional_embedding: nn.Parameter = tower.positional_embedding
        self.transformer: nn.Module = tower.transformer
        self.ln_final: nn.Module = tower.ln_final
        self.projection: nn.Parameter | nn.Linear | None = tower.text_projection
        self.register_buffer("mask", tower.attn_mask, persistent=False)

        self.context_length = int(tower.context_length)
        self.start_id = int(tokenizer.sot_token_id)
        self.end_id = int(tokenizer.eot_token_id)
        self.pad_id = 0  # SimpleTokenizer fills with zeros, whatever `pad_id` the configuration names
        self._pool = pool
        self._stops_at_end = self.mask is not None and pool in ("argmax", "eos")
        if tokenizer.vocab_size > self.token_embedding.num_embeddings:
            raise BackboneError(
                f"backbone={name!r} embeds {self.token_embedding.num_embeddings} tokens, its tokenizer knows "
                f"{tokenizer.vocab_size}; set text_cfg.vocab_size in the model's configuration to that number"
            )
        if pool == "eos" and eos_id != self.end_id:
            raise BackboneError(
                f"backbone={name!r} finds the end of a text by token {eos_id}, its tokenizer writes {self.end_id}; "
                f"set text_cfg.eos_id in the model's configuration to {self.end_id}"
            )

    @property
    def width(self) -> int:
        """Size W of a token embedding."""
        return self.token_embedding.embedding_dim

    @property
    def embed_dim(self) -> int:
        """Size D of a text feature."""
        if self.projection is None:
            return self.width
        return self.projection.out_features if isinstance(self.projection, nn.Linear) else self.projection.shape[1]

    def forward(
        self, embeddings: Tensor, end: Tensor, *, prefix: int = 0, buckets: LengthBuckets | None = None
    ) -> Tensor:
        """Encode prompts given as embeddings.

        Args:
            embeddings: Token embeddings (N, L, W) with start, end and, behind the end, padding; L at most
                `context_length`.
            end: Position (N,) int64 of each prompt's end-of-text token.
            prefix: How many of the first tokens are the same in all prompts, the ends not among them. Where that saves
                much, and the tower never looks ahead, they are encoded once: the same features but for rounding.
            buckets: The passes for prompts of unequal length, where the tower never looks ahead; None for one pass.

        Returns:
            Text features (N, D), not normalised.

        Raises:
            ConfigError: If the prompts are longer than the tower's context.
        """
        if buckets is not None and self._stops_at_end:
            embeddings, end = embeddings[buckets.order], end[buckets.order]
            parts = [
                self._encode(embeddings[start:stop, :length], end[start:stop], prefix)
                for start, stop, length in buckets.buckets
            ]
            return torch.cat(parts)[buckets.place]
        return self._encode(embeddings, end, prefix)

    def _encode(self, embeddings: Tensor, end: Tensor, prefix: int) -> Tensor:
        if prefix * (len(embeddings) - 1) >= WORTH_A_PASS and self._can_share():
            x, _ = self.embedded(embeddings)
            blocks: Any = self.transformer.resblocks
            own = encode_with_prefix(blocks, x, prefix, keep=not self._checkpoints())
            return self.pooled(own, end - prefix)[0]
        return self.pooled(self._read(embeddings), end)[0]

    def set_checkpointing(self, enabled: bool) -> None:
        """Say whether only what enters a block is kept for the backward pass, which then computes the rest again."""
        self.transformer.grad_checkpointing = enabled  # type: ignore[assignment,unused-ignore]

    def _checkpoints(self) -> bool:
        return bool(getattr(self.transformer, "grad_checkpointing", False)) and torch.is_grad_enabled()

    def _can_share(self) -> bool:
        """Return whether the tower is one whose blocks `encode_with_prefix` knows."""
        blocks = getattr(self.transformer, "resblocks", ())
        return self._stops_at_end and all(
            isinstance(block, ResidualAttentionBlock) and isinstance(block.attn, nn.MultiheadAttention)
            for block in blocks
        )

    def tokens(self, embeddings: Tensor) -> Tensor:
        """Return one feature for each token: embeddings as in `forward` (N, L, W) -> (N, L, W), not projected.

        Raises:
            ConfigError: If the prompts are longer than the tower's context.
        """
        hidden: Tensor = self.ln_final(self._read(embeddings)[:, : embeddings.shape[1]])
        return hidden

    def embedded(self, embeddings: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what the first block takes: embeddings with their positions, (N, L, W), and the attention mask (L, L).

        L is the tower's whole context unless it stops at the end of a text.

        Args:
            embeddings: As in `forward`.

        Raises:
            ConfigError: If the prompts are longer than the tower's context.
        """
        if embeddings.shape[1] > self.context_length:
            raise ConfigError(
                f"prompts of {embeddings.shape[1]} tokens are too long for the text tower ({self.context_length}); "
                "shorten the template or the phrases"
            )
        if not self._stops_at_end:
            embeddings = self._fill(embeddings)
        length = embeddings.shape[1]
        mask = None if self.mask is None else self.mask[:length, :length]
        return embeddings + self.positional_embedding[:length], mask

    def pooled(self, hidden: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """Read the features off what the last block leaves.

        Args:
            hidden: (N, L, W).
            end: As in `forward`.

        Returns:
            Text features (N, D), not normalised, and the token that each is read from, int64 (N,).
        """
        place = {"first": torch.zeros_like(end), "last": torch.full_like(end, hidden.shape[1] - 1)}.get(self._pool, end)
        # The layer norm acts on each token by itself: only the pooled token needs it.
        found: Tensor = self.ln_final(hidden[torch.arange(len(hidden), device=hidden.device), place])
        if isinstance(self.projection, nn.Linear):
            found = self.projection(found)
        elif self.projection is not None:
            found = found @ self.projection
        return found, place

    def _read(self, embeddings: Tensor) -> Tensor:
        x, mask = self.embedded(embeddings)
        hidden: Tensor = self.transformer(x, attn_mask=mask)
        return hidden

    def _fill(self, embeddings: Tensor) -> Tensor:
        missing = self.context_length - embeddings.shape[1]
        padding = self.token_embedding.weight[self.pad_id].expand(embeddings.shape[0], missing, -1)
        return torch.cat([embeddings, padding], dim=1)


def _find_text_tower(model: nn.Module, name: str) -> tuple[Any, str, int]:
    """Return the module with the text tower's parts, its pooling, and its end-of-text id."""
    if isinstance(model, open_clip.CLIP):
        tower, pool, eos_id = model, model.text_pool_type, model.text_eos_id
    elif isinstance(model, open_clip.CustomTextCLIP) and isinstance(model.text, TextTransformer):
        tower, pool, eos_id = model.text, model.text.pool_type, model.text.eos_id
        if tower.cls_emb is not None or tower.use_pad_mask:
            # Both hide tokens by their ids, which embeddings don't have.
            raise unsupported_text(name, "TextTransformer with a class token or a padding mask")
    else:
        raise unsupported_text(name, type(getattr(model, "text", model)).__name__)
    if pool == "none":
        raise unsupported_text(name, "TextTransformer with pool_type 'none' (no single feature per text)")
    return tower, pool, eos_id
