"""CLIP model of open_clip, split into the parts that methods train or freeze.

Only this module, `text_tower.py`, `layers.py` and `loading.py` depend on open_clip's internals.
"""

import math
from collections.abc import Sequence
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.image_tower import ImageTower
from numclip_lightning.models.length_buckets import LengthBuckets
from numclip_lightning.models.text_tower import TextTower, unsupported_text
from numclip_lightning.precision import at_least_float32, without_autocast

__all__ = ["CLIPBackbone"]

_MAX_LOG_SCALE = math.log(100.0)


class CLIPBackbone(ImageTower):
    """Image tower with its text tower and a logit scale; each can be trained or frozen by itself.

    A logit bias (SigLIP) is left out: it is equal for all levels, so it changes no softmax over levels.

    Args:
        model: A `CLIP` or `CustomTextCLIP` of open_clip, in float32.
        tokenizer: Its tokenizer.
        name: The model's name, for error messages.

    Attributes:
        visual: The image tower.
        embed_dim: Size D of image and text features.
        text: The text tower.
        logit_scale: Logarithm of the factor of the cosine similarities, a parameter.

    Raises:
        BackboneError: If the model can't take prompt embeddings or square images.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, name: str) -> None:
        if not isinstance(tokenizer, open_clip.SimpleTokenizer):
            raise unsupported_text(name, type(tokenizer).__name__)
        text = TextTower(model, tokenizer, name)
        tower = ImageTower.of(model, text.embed_dim, name)
        super().__init__(tower.visual, text.embed_dim, tower.image_size, tower.mean, tower.std)
        self.text = text
        self.logit_scale: nn.Parameter = model.get_parameter("logit_scale")
        self._tokenizer = tokenizer

    @property
    def text_width(self) -> int:
        """Size W of a token embedding."""
        return self.text.width

    @property
    def context_length(self) -> int:
        """The most tokens of a prompt, start and end included."""
        return self.text.context_length

    @property
    def logit_multiplier(self) -> Tensor:
        """Factor of the cosine similarities in the logits: a scalar in float32 at least, up to 100 (CLIP, section 2.5).

        The limit lets the gradient through: OpenAI's models are at 100 already, and could not go down otherwise.
        """
        scale = at_least_float32(self.logit_scale).reshape(())
        excess = (scale - _MAX_LOG_SCALE).clamp(min=0).detach()
        return (scale - excess).exp()

    def release_text(self) -> None:
        """Free the text tower; from here on, whatever asks for it gets a message."""
        # Imported here, because it is a text tower itself.
        from numclip_lightning.models.released_text import ReleasedText

        self.text = ReleasedText()

    def image_tower(self) -> ImageTower:
        """Return only the image tower, for methods without language; the modules are shared, not copied."""
        return ImageTower(self.visual, self.embed_dim, self.image_size, self.mean, self.std)

    def tokenize(self, texts: Sequence[str], *, cut: bool = False) -> list[list[int]]:
        """Turn texts into token ids, without start and end.

        Args:
            texts: At least one text.
            cut: Whether a text that is too long for the tower is cut short; otherwise it is refused.

        Returns:
            The ids of each text.

        Raises:
            ConfigError: If a text is too long for the tower or contains its start or end token.
        """
        if isinstance(texts, str) or not texts:
            raise ConfigError(f"texts={texts!r} must be a list of one text or more")
        most = self.context_length - 2
        tokens: list[list[int]] = [self._tokenizer.encode(text) for text in texts]
        for text, ids in zip(texts, tokens, strict=True):
            if len(ids) > most and not cut:
                raise ConfigError(
                    f"the text {text!r} has {len(ids)} tokens, the backbone reads at most {most}; shorten it"
                )
            if {self.text.start_id, self.text.end_id}.intersection(ids):
                raise ConfigError(f"the text {text!r} contains the backbone's start or end token; remove it")
        return [ids[:most] for ids in tokens]

    def pieces(self, text: str) -> list[str]:
        """Return the tokens of a text as they are written: pieces of words, the last of each with `</w>` at its end.

        Args:
            text: The text.

        Raises:
            ConfigError: As `tokenize`.
        """
        return [self._tokenizer.decoder[token] for token in self.tokenize([text])[0]]

    def encode_text(self, texts: Sequence[str], *, cut: bool = False) -> Tensor:
        """Encode texts as open_clip's own `encode_text` does.

        Args:
            texts: N texts.
            cut: As for `tokenize`.

        Returns:
            Text features (N, D), not normalised.

        Raises:
            ConfigError: If a text is too long for the tower or contains its start or end token.
        """
        embeddings, end = self._embed(texts, cut=cut)
        return self.encode_embeddings(embeddings, end)

    def encode_text_tokens(self, text: str) -> Tensor:
        """Encode one text into one feature for each token.

        Args:
            text: The text.

        Returns:
            Token features (L, W), start and end included, neither projected nor normalised to length one.

        Raises:
            ConfigError: If the text is too long for the tower or contains its start or end token.
        """
        embeddings, _ = self._embed([text])
        return self.text.tokens(embeddings)[0]

    def _embed(self, texts: Sequence[str], *, cut: bool = False) -> tuple[Tensor, Tensor]:
        """Return the embeddings of texts (N, L, W), padded to the longest, and where each ends (N,)."""
        tower = self.text
        rows = [[tower.start_id, *ids, tower.end_id] for ids in self.tokenize(texts, cut=cut)]
        length = max(map(len, rows))
        device = self.logit_scale.device
        ids = torch.tensor([row + [tower.pad_id] * (length - len(row)) for row in rows], device=device)
        end = torch.tensor([len(row) - 1 for row in rows], device=device)
        return tower.token_embedding(ids), end

    def encode_embeddings(
        self, embeddings: Tensor, end: Tensor, *, prefix: int = 0, buckets: LengthBuckets | None = None
    ) -> Tensor:
        """Encode prompts given as embeddings; see `TextTower.forward`.

        Args:
            embeddings: Token embeddings (N, L, W) with start, end and, behind the end, padding; L at most
                `context_length`.
            end: Position (N,) int64 of each prompt's end-of-text token.
            prefix: How many of the first tokens are the same in all prompts.
            buckets: The passes for prompts of unequal length; None for one pass.

        Returns:
            Text features (N, D), not normalised.

        Raises:
            ConfigError: If the prompts are longer than the tower's context.
        """
        features: Tensor = self.text(embeddings, end, prefix=prefix, buckets=buckets)
        return features

    def logits(self, features: Tensor, prototypes: Tensor) -> Tensor:
        """Compare images with prototypes.

        In float32 at least, under autocast too: in bfloat16 a logit (100 times a cosine) has errors of tenths.

        Args:
            features: Image features (B, D) of length one.
            prototypes: Text features (K, D) of length one.

        Returns:
            Scaled cosine similarities (B, K).
        """
        with without_autocast(features.device.type):
            return self.logit_multiplier * at_least_float32(features) @ at_least_float32(prototypes).T
