"""What both forms of Tip-Adapter share: a cache of training features beside zero-shot CLIP.

Source: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification", ECCV 2022 (arXiv
2111.03930), section 3.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError, check_weight
from numclip_lightning.methods.base.named import NamedMethod, Names
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.selection import Choice, ChoosingMethod, check_candidates
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.cache import KeyCache, soft_values
from numclip_lightning.models.heads import Decode
from numclip_lightning.models.prompts import ConceptPrompts
from numclip_lightning.scale import OrdinalScale

__all__ = ["ALPHAS", "BETAS", "CachedMethod"]

ALPHAS = (0.1, 0.3, 1.0, 3.0, 10.0)
BETAS = (1.0, 3.0, 5.5, 10.0, 30.0, 100.0)


class CachedMethod(ChoosingMethod, NamedMethod):
    """Base of both forms: `logits = s f T + alpha exp(-beta (1 - f K^T)) L`.

    f is the image feature of length one, T the prototypes, s CLIP's own scale, K and L the cache (`KeyCache`) with an
    entry for each training image. alpha and beta are chosen by the error on the validation images. Before a fit it is
    zero-shot CLIP. How many entries there are is read from the datamodule; a checkpoint brings its own.
    """

    alpha: Tensor
    beta: Tensor

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str,
        pretrained: str | None,
        names: Names,
        decode: Decode,
        tau: float | None,
        alphas: Sequence[float],
        betas: Sequence[float],
        learning_rates: LearningRates,
        optimizer: OptimizerSpec,
        lr_scheduler: SchedulerSpec | None,
        tolerance: float,
    ) -> None:
        super().__init__(scale, backbone, pretrained, names, decode, learning_rates, optimizer, lr_scheduler, tolerance)
        check_weight("tau", tau or 0, "certain values")
        self.tau = tau
        self.alphas, self.betas = check_candidates("alphas", alphas), check_candidates("betas", betas)
        self.save_hyperparameters({"alphas": self.alphas, "betas": self.betas}, logger=False)
        self.prompts = ConceptPrompts(self.clip, self.scale.template, self.words)
        self.cache = KeyCache(self.clip.embed_dim, len(self.words))
        self.register_buffer("alpha", torch.tensor(self.alphas[0]))
        self.register_buffer("beta", torch.tensor(self.betas[0]))
        self.freeze_parts()

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        return {**super().parts(), "head": [self.cache.keys]}

    def configure_model(self) -> None:
        """Make room for an entry for each training image, before the optimiser takes hold of the keys.

        Raises:
            ConfigError: If no datamodule says how many there are.
        """
        if self.trainer.state.fn == "fit":
            self.cache.resize(self._num_images())

    def on_train_start(self) -> None:
        """Refuse a checkpoint whose cache is of other training images.

        Raises:
            ConfigError: If there are more or fewer than the cache has entries.
        """
        super().on_train_start()
        if len(self.cache.keys) != self._num_images():
            raise ConfigError(
                f"the checkpoint's cache has {len(self.cache.keys)} entries, but there are {self._num_images()} "
                "training images; resume with the images it was made from, or start a new fit."
            )

    def _num_images(self) -> int:
        # Of any datamodule with `labels`: methods know nothing of the data's room.
        labels: Any = getattr(getattr(self.trainer, "datamodule", None), "labels", None)
        if labels is None:
            raise ConfigError(
                f"{type(self).__name__} keeps an entry for each training image; fit it with a datamodule, whose "
                "labels('train') says how many there are."
            )
        return len(labels("train"))

    def fill_cache(self, features: Tensor, batch: Batch) -> None:
        """Set the entries of training images.

        Args:
            features: (N, D), not normalised.
            batch: `index`, `level` and `rank` of each, (N,).
        """
        values = soft_values(self.true_class(batch), self.decoder.get_buffer("centers").cpu(), self.tau)
        self.cache.fill(batch["index"], self.adapt(features), values)

    def choices(self) -> Sequence[Choice]:
        """Return all pairs of alpha and beta."""
        return [
            {"alpha": torch.tensor(alpha), "beta": torch.tensor(beta)}
            for alpha, beta in product(self.alphas, self.betas)
        ]

    def join(self, features: Tensor, alpha: Tensor, beta: Tensor) -> Output:
        """Return the joined logits of image features (B, D), (B, R) or (B, K), and the values (B,)."""
        logits = self.compare(features) + alpha * self.cache(self.adapt(features), beta)
        return Output(logits, self.decoder(logits))

    def read(self, features: Tensor) -> Output:
        """Return the joined logits, (B, R) or (B, K), and the values (B,) that the decoder reads from them."""
        return self.join(features, self.alpha, self.beta)
