"""A CLIP model of open_clip, split into the parts that methods train or freeze.

Together with `text_tower.py` and `loading.py` this is the only place that knows open_clip's insides.
"""

import math
from collections.abc import Sequence
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from numclip_lightning.errors import BackboneError, ConfigError
from numclip_lightning.models.precision import at_least_float32, without_autocast
from numclip_lightning.models.text_tower import TextTower, unsupported_text

__all__ = ["CLIPBackbone"]

_MAX_LOG_SCALE = math.log(100.0)


class CLIPBackbone(nn.Module):
    """An open_clip model, whose image tower, text tower and logit scale are trained or frozen apart.

    A logit bias (SigLIP) is left out: it is the same for every level, so it changes no softmax over levels.

    Args:
        model: A `CLIP` or `CustomTextCLIP` of open_clip, in float32.
        tokenizer: Its tokenizer.
        name: The model's name, for error messages.

    Attributes:
        visual: The image tower.
        text: The text tower.
        logit_scale: Logarithm of what multiplies the cosine similarities, as a parameter.
        image_size: Height and width in pixels of the images it takes.
        mean: Mean of red, green and blue that the images are normalised with, in 0..1.
        std: Their standard deviation.

    Raises:
        BackboneError: If the model can't take prompt embeddings or images that are square.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, name: str) -> None:
        super().__init__()
        if not isinstance(tokenizer, open_clip.SimpleTokenizer):
            raise unsupported_text(name, type(tokenizer).__name__)
        self.text = TextTower(model, tokenizer, name)
        # Colours last in memory: convolutions take a fifth less time on a CPU.
        self.visual: nn.Module = model.get_submodule("visual").to(memory_format=torch.channels_last)
        self.logit_scale: nn.Parameter = model.get_parameter("logit_scale")
        preprocess = open_clip.get_model_preprocess_cfg(model)
        self.image_size = _square_size(preprocess["size"], name)
        self.mean: tuple[float, ...] = tuple(preprocess["mean"])
        self.std: tuple[float, ...] = tuple(preprocess["std"])
        self._tokenizer = tokenizer

    @property
    def embed_dim(self) -> int:
        """Size D of image and text features."""
        return self.text.embed_dim

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
        """What multiplies cosine similarities to make logits: a scalar in float32, at most 100 (CLIP, section 2.5).

        The limit lets the gradient through: OpenAI's models stand at 100 already, and could not come down otherwise.
        """
        scale = self.logit_scale.float().reshape(())
        excess = (scale - _MAX_LOG_SCALE).clamp(min=0).detach()
        return (scale - excess).exp()

    def require_size(self, height: int, width: int) -> None:
        """Raise ConfigError unless images of this size in pixels are what the backbone takes."""
        if (height, width) != (self.image_size, self.image_size):
            raise ConfigError(
                f"the images are {height}x{width} pixels, the backbone takes {self.image_size}x{self.image_size}; "
                f"set --data.image_size={self.image_size}"
            )

    def encode_image(self, images: Tensor) -> Tensor:
        """Encode images.

        Args:
            images: Normalised images (B, 3, H, W), H and W being `image_size`.

        Returns:
            Image features (B, D), not normalised.

        Raises:
            ConfigError: If the images have another size.
        """
        self.require_size(*images.shape[-2:])
        features: Tensor = self.visual(images)
        return features

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Turn texts into token ids, without start and end, never cut short.

        Args:
            texts: At least one text.

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
            if len(ids) > most:
                raise ConfigError(
                    f"the text {text!r} has {len(ids)} tokens, the backbone reads at most {most}; shorten it"
                )
            if {self.text.start_id, self.text.end_id}.intersection(ids):
                raise ConfigError(f"the text {text!r} contains the backbone's start or end token; remove it")
        return tokens

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode texts as open_clip's own `encode_text` does.

        Args:
            texts: N texts.

        Returns:
            Text features (N, D), not normalised.

        Raises:
            ConfigError: If a text is too long for the tower or contains its start or end token.
        """
        tower = self.text
        rows = [[tower.start_id, *ids, tower.end_id] for ids in self.tokenize(texts)]
        length = max(map(len, rows))
        device = self.logit_scale.device
        ids = torch.tensor([row + [tower.pad_id] * (length - len(row)) for row in rows], device=device)
        end = torch.tensor([len(row) - 1 for row in rows], device=device)
        return self.encode_embeddings(tower.token_embedding(ids), end)

    def encode_embeddings(self, embeddings: Tensor, end: Tensor) -> Tensor:
        """Encode prompts given as embeddings; see `TextTower.forward`.

        Args:
            embeddings: Token embeddings (N, L, W) with start, end and, behind the end, padding; L at most
                `context_length`.
            end: Position (N,) int64 of each prompt's end-of-text token.

        Returns:
            Text features (N, D), not normalised.

        Raises:
            ConfigError: If the prompts are longer than the tower's context.
        """
        features: Tensor = self.text(embeddings, end)
        return features

    def logits(self, features: Tensor, prototypes: Tensor) -> Tensor:
        """Compare images with prototypes.

        In float32 at least, under autocast too: a cosine in bfloat16, times 100, is off by tenths.

        Args:
            features: Image features (B, D) of length one.
            prototypes: Text features (K, D) of length one.

        Returns:
            Scaled cosine similarities (B, K).
        """
        with without_autocast(features.device.type):
            return self.logit_multiplier * at_least_float32(features) @ at_least_float32(prototypes).T


def _square_size(size: int | Sequence[int], name: str) -> int:
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise BackboneError(
            f"backbone={name!r} takes images of {height}x{width} pixels, only square ones are supported; choose another"
        )
    return height
