"""What the methods that compare images with prompts share: the CLIP, the prompts, and prototypes computed once."""

from collections.abc import Iterable
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.loading import load_clip
from numclip_lightning.models.prompt_parts import Prompts
from numclip_lightning.precision import at_least_float32
from numclip_lightning.scale import OrdinalScale

__all__ = ["PromptedMethod"]

P = TypeVar("P", bound=Prompts)


class PromptedMethod(OrdinalMethod, Generic[P]):
    """Base of the methods whose logits are similarities of images and prompts.

    A method sets `prompts` and `decoder` in its constructor and adds its own parts to `parts`.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        learning_rates: The learning rate of each part; 0 freezes it.
        optimizer: The optimiser.
        lr_scheduler: The schedule, or None for constant rates.
        tolerance: The k of the cumulative score CS@k, in the target's unit.
    """

    clip: CLIPBackbone
    prompts: P
    decoder: nn.Module

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str,
        pretrained: str | None,
        learning_rates: LearningRates,
        optimizer: OptimizerSpec,
        lr_scheduler: SchedulerSpec | None,
        tolerance: float,
    ) -> None:
        super().__init__(scale, learning_rates, optimizer, lr_scheduler, tolerance)
        self.clip = load_clip(backbone, pretrained)
        self._prototypes: Tensor | None = None

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return the parameters of the CLIP and the context by part; a method adds the others."""
        return {
            "image_encoder": self.clip.visual.parameters(),
            "text_encoder": self.clip.text.parameters(),
            "logit_scale": [self.clip.logit_scale],
            "context": [] if self.prompts.context is None else [self.prompts.context],
        }

    def prototypes(self) -> Tensor:
        """Return the normalised text feature of each prompt, (K, D), in float32 at least."""
        if self._prototypes is not None:
            return self._prototypes
        embeddings, end = self.prompts(self.clip.text)
        return F.normalize(at_least_float32(self.clip.encode_embeddings(embeddings, end)), dim=-1)

    def adapt(self, features: Tensor) -> Tensor:
        """Return the features (B, D) as they are compared: of length one, and adapted where a method has an adapter.

        In float32 at least: a length of one that is rounded to bfloat16 would be off by thousandths, times 100.
        """
        return F.normalize(at_least_float32(features), dim=-1)

    def compare(self, features: Tensor) -> Tensor:
        """Return the scaled cosine similarities of image features (B, D) and prototypes, (B, K)."""
        return self.clip.logits(self.adapt(features), self.prototypes())

    def read(self, features: Tensor) -> Output:
        """Return the similarities, (B, K) or (B, R), and the values (B,) that the decoder reads from them."""
        logits = self.compare(features)
        return Output(logits, self.decoder(logits))

    def freeze_parts(self) -> None:
        """Freeze the parts whose learning rate is 0.

        Raises:
            ConfigError: If the context is random and never trained.
        """
        if self.prompts.random_context and self.learning_rates.context == 0:
            raise ConfigError(
                "learning_rates.context is 0, but num_context asks for random context tokens, which would stay random; "
                "raise the rate, or set num_context=null for the template's own words."
            )
        super().freeze_parts()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Keep the prototypes from one step to the next where no step changes them."""
        if self._prototypes is None and self._prompts_rest():
            with torch.no_grad():
                self._keep_prototypes()

    def _prompts_rest(self) -> bool:
        """Tell whether training leaves the prototypes as they are."""
        return not any(p.requires_grad for part in (self.prompts, self.clip.text) for p in part.parameters())

    def _keep_prototypes(self) -> None:
        self._prototypes = None  # of an evaluation that was broken off
        self._prototypes = self.prototypes()

    def _drop_prototypes(self) -> None:
        self._prototypes = None

    # No step between these hooks changes a prompt, so that the text tower runs once for a whole evaluation. Dropped at
    # its end also where training needs them again: an evaluation makes tensors that training could not use.
    on_validation_epoch_start = on_test_epoch_start = on_predict_epoch_start = _keep_prototypes
    on_train_epoch_start = on_train_end = _drop_prototypes
    on_validation_epoch_end = on_test_epoch_end = on_predict_epoch_end = _drop_prototypes
