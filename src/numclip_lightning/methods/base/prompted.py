"""Base classes of the methods that compare images with prompts: the CLIP, the prompts, and prototypes computed once."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import field
from itertools import chain
from typing import Any, Generic, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError, refuse
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.loading import load_clip
from numclip_lightning.models.prompt_parts import Prompts
from numclip_lightning.models.prompts import Position
from numclip_lightning.precision import at_least_float32, without_autocast

__all__ = ["ContextMethod", "PromptedMethod"]

P = TypeVar("P", bound=Prompts)

# Storage and version of each tensor that prototypes are computed from.
Versions = tuple[tuple[int, int], ...]


class PromptedMethod(OrdinalMethod, Generic[P]):
    """Base class of the methods whose logits are similarities of images and prompts.

    A method implements `build_prompts`, `decode_features` and `losses`, and adds its own parts to `parts`.

    Prototypes are computed once and kept while the module is in evaluation, and in training while no step moves the
    words. They are computed again after a change between training and evaluation, and after any change of the prompts
    or the text tower: a step of an optimiser, an edit in place, loaded weights, another device or type. Only a write
    into `parameter.data` is not seen, because torch does not count it. Kept prototypes carry no gradient.

    `release_text` computes them for the last time and frees the text tower: half of a ViT-B/32's memory.

    Attributes:
        clip: The CLIP with both towers.
        prompts: The prompts of all classes.
    """

    clip: CLIPBackbone = field(init=False)
    prompts: P = field(init=False)
    last_prototypes: Tensor | None = field(init=False)

    @abstractmethod
    def build_prompts(self) -> P:
        """Return the prompts; `clip` is built."""

    def build(self) -> None:
        """Build the CLIP and the prompts."""
        super().build()
        self._kept: tuple[Versions, Tensor] | None = None
        # A buffer, so that they move with the method; those of a text tower that is gone.
        self.register_buffer("last_prototypes", None, persistent=False)
        self.clip = load_clip(self.backbone, self.pretrained)
        self.prompts = self.build_prompts()

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return the parameters of the CLIP and the prompts by part; a method adds its own."""
        context = self.prompts.context
        return {
            "image_encoder": self.clip.visual.parameters(),
            "text_encoder": self.clip.text.parameters(),
            "logit_scale": [self.clip.logit_scale],
            "context": [] if context is None else [context],
            "phrases": [parameter for parameter in self.prompts.parameters() if parameter is not context],
        }

    def prototypes(self) -> Tensor:
        """Return the normalised text feature of each prompt, (K, D), in float32 at least."""
        if self.last_prototypes is not None:
            return self.last_prototypes
        if self.training and self.words_move():
            self._kept = None
            return self._encode_prompts()
        if torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling():
            # `torch.export` traces tensors without storage: what is kept becomes a constant of the exported graph.
            return self._encode_prompts() if self._kept is None else self._kept[1]
        versions = self._versions()
        if self._kept is None or self._kept[0] != versions:
            # In full precision and without inference mode, so that they can be used wherever they are asked for next.
            with torch.inference_mode(mode=False), torch.no_grad(), without_autocast(self.clip.logit_scale.device.type):
                self._kept = versions, self._encode_prompts()
        return self._kept[1]

    def release_text(self) -> None:
        """Free the text tower; prototypes stay as they are. For evaluation alone: the method can't be trained or saved.

        The method is put into evaluation.
        """
        if self.last_prototypes is None:
            self.eval()
            self.last_prototypes = self.prototypes()
            self._kept = None
            self.clip.release_text()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to save a method without its text tower.

        Raises:
            ConfigError: If it was released.
        """
        super().on_save_checkpoint(checkpoint)
        if self.last_prototypes is not None:
            raise ConfigError("the text tower of this method was released, so that a checkpoint would not be whole.")

    def words_move(self) -> bool:
        """Return whether training steps change the prototypes."""
        return any(p.requires_grad for part in (self.prompts, self.clip.text) for p in part.parameters())

    def adapt(self, features: Tensor) -> Tensor:
        """Return the features (B, D) as they are compared: of length one, and adapted if a method has an adapter.

        In float32 at least: a length of one that is rounded to bfloat16 would be off by thousandths, times 100.
        """
        return F.normalize(at_least_float32(features), dim=-1)

    def compare(self, features: Tensor) -> Tensor:
        """Return the scaled cosine similarities of image features (B, D) and prototypes, (B, K)."""
        return self.clip.logits(self.adapt(features), self.prototypes())

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; training drops kept prototypes.

        Raises:
            ConfigError: If the text tower was released.
        """
        if mode and self.last_prototypes is not None:
            raise ConfigError("the text tower of this method was released; load its checkpoint again to train it.")
        if mode:
            self._kept = None
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Self:
        """Drop kept prototypes before the module moves to another device or type."""
        self._kept = None
        moved: Self = super()._apply(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        return moved

    def _encode_prompts(self) -> Tensor:
        embeddings, end = self.prompts(self.clip.text)
        prompts = self.prompts
        features = self.clip.encode_embeddings(embeddings, end, prefix=prompts.prefix, buckets=prompts.buckets)
        return F.normalize(at_least_float32(features), dim=-1)

    def _versions(self) -> Versions:
        """Return a key that changes with the words, the text tower and the mode; it costs no synchronisation."""
        parts = (self.prompts, self.clip.text)
        tensors = chain.from_iterable(chain(part.parameters(), part.buffers()) for part in parts)
        # Lightning returns to training by attribute and not by `train()`, so that the mode is part of the key.
        # Inference tensors have no version and refuse edits in place.
        known = [(tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version) for tensor in tensors]
        return (int(self.training), 0), *known


class ContextMethod(PromptedMethod[P]):
    """Base class of the methods that learn the words around the phrases.

    Args:
        num_context: How many random context tokens are learned; None starts from the template's words.
        position: The place of the phrase among random context tokens.
    """

    num_context: int | None = 10
    position: Position = "tail"

    def check(self) -> None:
        """Refuse a context that is random and never trained."""
        super().check()
        if self.num_context is not None and self.learning_rates.context == 0:
            refuse(
                "learning_rates.context is 0, but num_context asks for random context tokens, which would stay random; "
                "raise the rate, or set num_context=null for the template's own words."
            )
