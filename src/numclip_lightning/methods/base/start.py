"""Mixin that starts a trained head from its solution on the features of the untuned tower: probe first, then tune.

Source of the order: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution",
ICLR 2022 (arXiv 2202.10054).
"""

import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence, Sized
from typing import NamedTuple, cast

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from numclip_lightning.errors import refuse
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.samples import Samples, encode_share, gather_by_index
from numclip_lightning.methods.base.selection import check_candidates
from numclip_lightning.methods.base.types import Batch
from numclip_lightning.models.solvers import LinearClassifier, residual_regression

__all__ = ["SolvedStart"]

_log = logging.getLogger(__name__)

# Images that the start is solved from at the most, evenly spaced over the list: training goes on from there.
_MOST_IMAGES = 20_000
# How often a training image is encoded: augmentation shows other crops and mirrors of it.
_VIEWS = 2
# By how much an offset has to lower the error: its frequencies come from the same images.
_LEAST_GAIN = 0.02


class _Start(NamedTuple):
    error: float
    strength: float
    found: LinearClassifier
    corrected: bool


class SolvedStart(OrdinalMethod):
    """Base class of the methods whose linear layer on image features is solved before the first training step.

    The training images, augmented as in training, are encoded twice, the validation images once. The layer is solved by
    L-BFGS with the method's own loss and a penalty of its weights; images count as they are drawn and weighed in
    training. It is solved once for each strength from the smallest on, until the error on the validation images rises;
    the best one is the start. Without validation it is the middle strength. The first epoch moves nothing, so that the
    start itself is validated, and kept where tuning is no better. A fit that is resumed goes on from its weights. A
    mixin, named before the class that brings the towers.

    Where training and validation images differ in how often each number occurs (few shots are drawn evenly), the loss
    may be of `outputs + log p_train - log p_val`, so that the outputs themselves are for the validation's frequencies.
    This is kept if it lowers the error on the validation images by 2 % at least, for the whole training. Where training
    changes the frequencies on purpose (`frequency_remedies`), it is not tried.

    Args:
        strengths: Strengths to choose from, as scikit-learn's C: the larger, the freer the weights; an empty list
            starts from what the phrases say.
    """

    strengths: Sequence[float] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)

    @abstractmethod
    def start_layer(self) -> nn.Linear:
        """Return the layer that is solved; it takes features as `start_features` returns them."""

    @abstractmethod
    def start_features(self, features: Tensor) -> Tensor:
        """Return what the layer multiplies, (N, D), for features of the image tower."""

    @abstractmethod
    def start_loss(
        self, features: Tensor, target: Tensor, weight: Tensor | None = None, offset: Tensor | None = None
    ) -> Callable[[Tensor], Tensor]:
        """Return the loss, a scalar, as a function of the layer's outputs for these images, (N, C).

        Args:
            features: Features of the image tower, (N, D).
            target: True numbers, (N,).
            weight: What each image's loss counts, (N,); None is 1 for all.
            offset: What is added to the logits that the outputs lead to, (C,); None adds nothing.
        """

    @abstractmethod
    def start_values(self, features: Tensor, outputs: Tensor) -> Tensor:
        """Return the values (N,) that are read for these features and outputs of the layer, (N, C)."""

    @abstractmethod
    def start_offset(self, train: Tensor, val: Tensor) -> Tensor | None:
        """Return `log p_train - log p_val` of the outputs, (C,), for targets (N,) and (M,); None to leave it out."""

    @abstractmethod
    def keep_offset(self, offset: Tensor) -> None:
        """Add an offset (C,) to the outputs in the loss, from now on."""

    def check(self) -> None:
        """Refuse strengths that are not finite and greater than 0."""
        super().check()
        if self.strengths:
            check_candidates("strengths", self.strengths)
            if 0 in self.strengths:
                refuse("strengths contain 0, which would learn nothing; give numbers greater than 0.")

    def on_train_start(self) -> None:
        """Solve for the start, unless a fit is resumed; say so if nothing but the start will be there."""
        super().on_train_start()
        if self.strengths and not self._outlasts_the_first_epoch():
            _log.warning(
                "%s: this fit ends with its first epoch, which validates the solved start and trains nothing; give two "
                "epochs or more (trainer.max_epochs, max_steps), or strengths=[] for a training without a start",
                type(self).__name__,
            )
        if self.strengths and not self.trainer.global_step:
            self._solve_start()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch; in the first epoch after a solution one that moves nothing."""
        if not self.rests:
            return super().training_step(batch, batch_idx)
        # Linked to all that is trained: processes that share the work wait for a gradient of each.
        return torch.stack([p.flatten()[:0].sum() for p in self.parameters() if p.requires_grad]).sum()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Take the gradients of 0 away, so that the optimiser does not even decay weights."""
        super().on_before_optimizer_step(optimizer)
        if not self.rests:
            return
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            # A fused optimiser has its gradients looked at in its step, where there will be none.
            scaler.unscale_(optimizer)
        optimizer.zero_grad()

    def _outlasts_the_first_epoch(self) -> bool:
        steps, epochs = self.trainer.max_steps, self.trainer.max_epochs
        batches = self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        return epochs != 1 and not 0 <= steps <= batches

    @property
    def rests(self) -> bool:
        """Whether this epoch is the first one after a solution, which validates it and trains nothing."""
        return bool(self.strengths) and self.trainer.current_epoch == 0

    def _solve_start(self) -> None:
        began, was_training = time.monotonic(), self.training
        self.eval()
        # The order of the training images does not depend on whether there is a solved start.
        with isolate_rng(), torch.inference_mode(mode=False):
            with self.one_view():
                train = self._encode(
                    cast("DataLoader[Batch]", self.trainer.train_dataloader), self.trainer.num_training_batches, _VIEWS
                )
            loader = self.trainer.val_dataloaders if self.trainer.enable_validation else None
            val = self._encode(loader, sum(self.trainer.num_val_batches)) if loader else None
            weight = self._start_weights(cast("DataLoader[Batch]", self.trainer.train_dataloader), train)
            start = self._best_start(train, val, weight, None)
            offset = None if val is None else self._start_offset(train, val)
            if val is not None and offset is not None:
                corrected = self._best_start(train, val, weight, offset)
                if corrected.error < (1 - _LEAST_GAIN) * start.error:
                    start = corrected
                    self.keep_offset(offset)
        layer = self.start_layer()
        with torch.no_grad():
            layer.weight.copy_(start.found.weight)
            layer.bias.copy_(start.found.bias)
        self.train(was_training)
        _log.info(
            "%s: starts from the solution on %d images (strength %g%s), found in %.1f s; epoch 1 validates it, trains "
            "nothing and has a loss of 0",
            type(self).__name__, len(set(train.index.tolist())), start.strength,
            ", for the frequencies of the validation images" if start.corrected else "", time.monotonic() - began,
        )  # fmt: skip

    def _start_weights(self, loader: "DataLoader[Batch]", train: Samples) -> Tensor | None:
        """Return how much each image counts, (N,), as it is drawn and weighed in training; None if all count alike."""
        weight: Tensor | None = None
        if self.imbalance.weights != "none":
            # With synthetic images among them, where features are kept.
            labels = getattr(loader.dataset, "labels", None) or self.training_labels()
            weight = self.weights_of(labels, train.index, train.target).to(self.device)
        shares = getattr(loader.sampler, "shares", None)
        if shares is not None:
            drawn = torch.as_tensor(shares)[train.index].to(self.device)
            weight = drawn if weight is None else weight * drawn
        return None if weight is None else (weight / weight.mean()).to(train.features)

    def _start_offset(self, train: Samples, val: Samples) -> Tensor | None:
        """Return the offset that is tried, or None if frequencies are changed on purpose, which it would undo."""
        offset, remedies = self.start_offset(train.target, val.target), self.frequency_remedies()
        if offset is None or not remedies:
            return offset
        _log.info(
            "%s: the frequencies of the validation images are not corrected for: %s changes those of training on "
            "purpose",
            type(self).__name__, " and ".join(remedies),
        )  # fmt: skip
        return None

    def _encode(self, loader: "DataLoader[Batch]", batches: float, views: int = 1) -> Samples:
        """Encode as many images of a loader's list as training or validation looks at, each so many times."""
        size, total = loader.batch_size or 1, len(cast("Sized", loader.dataset))
        seen = max(1, int(min(total, _MOST_IMAGES, batches * size * self.trainer.world_size)))
        rows = torch.linspace(0, total - 1, seen, dtype=torch.float64).round().long().tolist()
        passes = [
            gather_by_index(list(encode_share(self, loader.dataset, size, loader.num_workers, rows=rows, view=view)))
            for view in range(views)
        ]
        index, features, target = (torch.cat(tensors) for tensors in zip(*passes, strict=True))
        return Samples(index, features.to(self.device), target.to(self.device))

    def _best_start(self, train: Samples, val: Samples | None, weight: Tensor | None, offset: Tensor | None) -> _Start:
        """Return the solution of the strength with the least error on the validation images."""
        layer, strengths = self.start_layer(), sorted(self.strengths)
        if val is None:
            strengths = [strengths[len(strengths) // 2]]
        x, loss = self.start_features(train.features), self.start_loss(train.features, train.target, weight, offset)
        found = LinearClassifier(layer.weight, layer.bias)
        best: _Start | None = None
        for strength in strengths:
            found = residual_regression(x, loss, found, strength)
            error = 0.0 if val is None else self._start_error(val, found)
            if best is not None and error > best.error:
                break
            best = _Start(error, strength, found, offset is not None)
        assert best is not None
        return best

    def _start_error(self, val: Samples, found: LinearClassifier) -> float:
        """Return the mean absolute error on validation images."""
        with torch.no_grad():
            outputs = self.start_features(val.features) @ found.weight.T + found.bias
            return (self.start_values(val.features, outputs) - val.target).abs().mean().item()
