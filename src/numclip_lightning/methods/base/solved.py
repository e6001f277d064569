"""Base classes of the methods without gradient steps: nothing is learned, or the solution is computed in closed form.

Steps only collect features; the solution is computed at the end of the epoch.
"""

import logging
from abc import abstractmethod
from dataclasses import field
from typing import Any

import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.imbalance import ImbalanceSpec
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.mixing import MixSpec
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.samples import Samples, features_of, gather_by_index
from numclip_lightning.methods.base.selection import SelectingMethod
from numclip_lightning.methods.base.types import Batch

__all__ = ["SolvedMethod", "UntrainedMethod"]

_log = logging.getLogger(__name__)


class UntrainedMethod(OrdinalMethod):
    """Mixin that fixes the arguments of gradient training, which are no flags then; named before the towers' class."""

    # A head is solved for. Its rate is any but 0, which would mean that it stays as it is.
    learning_rates: LearningRates = field(
        default=LearningRates(image_encoder=0, adapter=0, context=0, phrases=0, head=1), init=False
    )
    optimizer: OptimizerSpec = field(default=OptimizerSpec(), init=False)
    lr_scheduler: SchedulerSpec | None = field(default=None, init=False)
    mix: MixSpec | None = field(default=None, init=False)
    imbalance: ImbalanceSpec = field(default=ImbalanceSpec(), init=False)


class SolvedMethod(UntrainedMethod, SelectingMethod):
    """Base class of the methods that `fit` solves instead of training them.

    Training steps collect features. At the end of each epoch, before validation, the features of all processes are
    gathered and the method is solved from them: the solution is in the parameters of the part `head`, so that it is in
    checkpoints, counts as learned, and can be tested like any other. Several epochs over augmented images are several
    passes, and all that was collected since the fit began, or was resumed, is used. A mixin, as `SelectingMethod`.
    """

    @abstractmethod
    def solve(self, features: Tensor, batch: Batch) -> None:
        """Solve for the head; `choices` are asked for afterwards.

        Args:
            features: Features of all training images and passes, not normalised, (N, D), in main memory.
            batch: `index`, `target`, `level` and `rank` of each, (N,).
        """

    def on_train_start(self) -> None:
        """Start to collect.

        Raises:
            ConfigError: If the training ends before its first epoch does, so that nothing would be solved.
        """
        super().on_train_start()
        steps, batches = self.trainer.max_steps, self.trainer.num_training_batches
        if steps >= 0 and steps * self.trainer.accumulate_grad_batches < batches:
            raise ConfigError(
                f"trainer.max_steps is {steps}, but {type(self).__name__} is solved at the end of an epoch, which has "
                f"{batches} batches; set trainer.max_epochs instead."
            )
        if getattr(getattr(self.trainer.train_dataloader, "sampler", None), "replacement", False):
            raise ConfigError(
                f"{type(self).__name__} is solved from every training image once, but data.sample_power draws them "
                "with replacement; set it to 0, or fill rare values up with data.oversample."
            )
        if self.trainer.current_epoch:
            _log.warning(
                "%s: the features of the %d epochs before this fit was resumed are not kept; it is solved from those "
                "that follow",
                type(self).__name__, self.trainer.current_epoch,
            )  # fmt: skip
        self._batches: list[Samples] = []
        self._passes: list[Samples] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Collect the features of one batch; return a loss of 0."""
        with torch.no_grad():
            self._batches.append(Samples(batch["index"], features_of(self, batch), batch["target"]))
        # Linked to all that is solved for: processes that share the work wait for a gradient of each.
        return torch.stack([parameter.flatten()[:0].sum() for parameter in self._solved()]).sum()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Solve after the last batch of an epoch."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        if not self.trainer.is_last_batch:
            return
        self._passes.append(gather_by_index(self._batches))
        self._batches = []
        index, features, target = (torch.cat(tensors) for tensors in zip(*self._passes, strict=True))
        self.solve(features, self.with_levels({"index": index, "target": target}))
        self.apply_choice(self.choices()[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build an optimiser that changes nothing; the trainer saves checkpoints by the number of its steps."""
        return torch.optim.SGD(self._solved(), lr=0.0)

    def _solved(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.parameters() if parameter.requires_grad]
