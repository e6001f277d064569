"""Base class of both forms of Tip-Adapter: a cache of training features beside zero-shot CLIP.

Source: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification", ECCV 2022 (arXiv
2111.03930), section 3.
"""

from collections.abc import Iterable, Sequence
from dataclasses import field
from itertools import product

import torch
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError, check_weight
from numclip_lightning.methods.base.classes import PromptClassifier
from numclip_lightning.methods.base.selection import Choice, SelectingMethod, check_candidates
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.cache import KeyCache, soft_values

__all__ = ["TipAdapterMethod"]


class TipAdapterMethod(SelectingMethod, PromptClassifier):
    """Base class of both forms: `logits = s f T + alpha exp(-beta (1 - f K^T)) L`.

    f is the image feature of length one, T the prototypes, s CLIP's own scale, K and L the cache (`KeyCache`) with an
    entry for each training image. alpha and beta are selected by the error on the validation images. Before a fit it is
    zero-shot CLIP. The number of entries is read from the datamodule; a checkpoint brings its own.

    Args:
        tau: How far an entry counts for neighbouring classes, on the scale's axis (`models.cache.soft_values`); None
            is as published: for its own class alone.
        alphas: The weights of the cache to choose from.
        betas: How fast an entry's weight decays with distance, to choose from.

    Attributes:
        best_alpha: The selected alpha, a scalar buffer.
        best_beta: The selected beta, a scalar buffer.
    """

    tau: float | None = None
    alphas: Sequence[float] = (0.1, 0.3, 1.0, 3.0, 10.0)
    betas: Sequence[float] = (1.0, 3.0, 5.5, 10.0, 30.0, 100.0)
    best_alpha: Tensor = field(init=False)
    best_beta: Tensor = field(init=False)

    def check(self) -> None:
        """Refuse candidates and decays that are negative or not finite."""
        super().check()
        check_weight("tau", self.tau or 0, "certain values")
        check_candidates("alphas", self.alphas)
        check_candidates("betas", self.betas)

    def build(self) -> None:
        """Build zero-shot CLIP and an empty cache."""
        super().build()
        self.cache = KeyCache(self.clip.embed_dim, self.num_classes)
        self.register_buffer("best_alpha", torch.tensor(self.alphas[0]))
        self.register_buffer("best_beta", torch.tensor(self.betas[0]))

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        return {**super().parts(), "head": [self.cache.keys]}

    def configure_model(self) -> None:
        """Make room for an entry for each training image, before the optimiser holds the keys.

        Raises:
            ConfigError: If no datamodule has the training targets.
        """
        if self.trainer.state.fn == "fit":
            self.cache.resize(len(self.training_targets()))

    def on_train_start(self) -> None:
        """Refuse a checkpoint whose cache is of other training images.

        Raises:
            ConfigError: If there are more or fewer than the cache has entries.
        """
        super().on_train_start()
        number = len(self.training_targets())
        rows = getattr(getattr(self.trainer.train_dataloader, "dataset", None), "labels", None)
        if rows is not None and len(rows) != number:
            raise ConfigError(
                f"{type(self).__name__} has an entry for each training image and none for the {len(rows) - number} "
                "synthetic ones of data.oversample; leave that out."
            )
        if len(self.cache.keys) != number:
            raise ConfigError(
                f"the checkpoint's cache has {len(self.cache.keys)} entries, but there are {number} training images; "
                "resume with the images it was made from, or start a new fit."
            )

    def fill_cache(self, features: Tensor, batch: Batch) -> None:
        """Set the entries of training images.

        Args:
            features: (N, D), not normalised.
            batch: `index`, `level` and `rank` of each, (N,).
        """
        values = soft_values(self.true_class(batch), self.class_values.cpu(), self.tau)
        self.cache.fill(batch["index"], self.adapt(features), values)

    def choices(self) -> Sequence[Choice]:
        """Return all pairs of alpha and beta."""
        return [
            {"best_alpha": torch.tensor(alpha), "best_beta": torch.tensor(beta)}
            for alpha, beta in product(self.alphas, self.betas)
        ]

    def joined_output(self, features: Tensor, alpha: Tensor, beta: Tensor) -> Output:
        """Return the joined logits of image features (B, D), (B, R) or (B, K), and the values (B,)."""
        return self.class_output(self.compare(features) + alpha * self.cache(self.adapt(features), beta))

    def decode_features(self, features: Tensor) -> Output:
        """Return the joined logits, (B, R) or (B, K), and the values (B,) that the decoder reads from them."""
        return self.joined_output(features, self.best_alpha, self.best_beta)
