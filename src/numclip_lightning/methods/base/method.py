"""What all methods share: one step for every stage, metrics, a learning rate per part, prediction."""

import inspect
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict
from itertools import product
from typing import Any, Literal

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.optimisers import (
    Interval,
    LearningRates,
    OptimizerSpec,
    SchedulerSpec,
    as_spec,
    build_optimizer,
    build_scheduler,
)
from numclip_lightning.methods.base.types import Batch, Output, Prediction
from numclip_lightning.metrics import EpsilonError, level_metrics, value_metrics
from numclip_lightning.models.image_tower import ImageTower
from numclip_lightning.scale import OrdinalScale

__all__ = ["OrdinalMethod"]

# Lightning warns whenever a module overrides this hook beside a datamodule, which ours does on purpose (see below).
warnings.filterwarnings("ignore", "You have overridden `on_before_batch_transfer` in `LightningModule`")

Stage = Literal["train", "val", "test"]


class OrdinalMethod(L.LightningModule, ABC):
    """Base of the published methods.

    A method sets `clip`, implements `read` (from image features to an `Output`), `losses` and `parts`, and calls
    `freeze_parts` at the end of its constructor. All else, from the metrics to the optimiser, stands here once. The cut
    between `encode_images` and `read` is where features are kept when the image tower is frozen.

    Args:
        scale: The ordered scale of the targets.
        learning_rates: The learning rate of each part; 0 freezes it.
        optimizer: The optimiser.
        lr_scheduler: The schedule, or None for constant rates.
        tolerance: The k of the cumulative score CS@k, in the target's unit.

    Attributes:
        clip: What the images are seen through: a CLIP, or its image tower alone.
    """

    clip: ImageTower

    def __init__(
        self,
        scale: OrdinalScale,
        learning_rates: LearningRates,
        optimizer: OptimizerSpec,
        lr_scheduler: SchedulerSpec | None,
        tolerance: float,
    ) -> None:
        super().__init__()
        self.scale = OrdinalScale.of(scale)
        self.learning_rates = as_spec(LearningRates, learning_rates)
        self.optimizer_spec = as_spec(OptimizerSpec, optimizer)
        self.scheduler_spec = None if lr_scheduler is None else as_spec(SchedulerSpec, lr_scheduler)
        self._save_plain_hyperparameters()
        for stage in ("train", "val", "test"):
            metrics = {"value": value_metrics(tolerance), "level": level_metrics(self.scale.num_levels)}
            setattr(
                self, f"{stage}_metrics", nn.ModuleDict({k: m.clone(prefix=f"{stage}_") for k, m in metrics.items()})
            )
        self.test_epsilon = EpsilonError()

    def _save_plain_hyperparameters(self) -> None:
        """Keep the constructor's arguments as plain values, so that a checkpoint loads with `weights_only=True`."""
        special: dict[str, Any] = {
            "scale": self.scale.to_dict(),
            "learning_rates": asdict(self.learning_rates),
            "optimizer": asdict(self.optimizer_spec),
            "lr_scheduler": asdict(self.scheduler_spec) if self.scheduler_spec else None,
            # Tells `numclip test --ckpt_path` which method the checkpoint holds.
            "_class_path": f"{type(self).__module__}.{type(self).__qualname__}",
        }
        self.save_hyperparameters(ignore=list(special), logger=False)
        self.save_hyperparameters(special, logger=False)
        # Lightning adds the arguments of the parents' constructors, which a method may fill in by itself.
        own = {*inspect.signature(type(self)).parameters, "_class_path"}
        for name in self.hparams.keys() - own:
            del self.hparams[name]

    # What a method implements.

    @abstractmethod
    def read(self, features: Tensor) -> Output:
        """Return logits and values (B,) for features of `encode_images`, (B, ...)."""

    @abstractmethod
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted parts of the loss, scalars by name; the loss is their sum.

        Args:
            output: What `forward` says of the images.
            batch: `target` (B,), and `level` and `rank`, int64 (B,).
        """

    @abstractmethod
    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters, sorted into the parts that `LearningRates` names."""

    # What they share.

    def encode_images(self, images: Tensor) -> Tensor:
        """Return what the image tower alone says of normalised images (B, 3, H, W): features (B, D), of any length."""
        return self.clip.encode_image(images)

    def forward(self, images: Tensor) -> Output:
        """Return logits and values (B,) for normalised images (B, 3, H, W)."""
        return self.read(self.encode_images(images))

    def freeze_parts(self) -> None:
        """Freeze the parts whose learning rate is 0 and set them to evaluation; a method calls this once it is built.

        Raises:
            ConfigError: If a parameter belongs to no part, or to two.
        """
        rates = asdict(self.learning_rates)
        owner: dict[nn.Parameter, str] = {}
        for part, parameters in self.parts().items():
            for parameter in parameters:
                if parameter in owner:
                    raise ConfigError(f"a parameter belongs to the parts {owner[parameter]!r} and {part!r}.")
                owner[parameter] = part
                parameter.requires_grad_(rates[part] > 0)
        homeless = [name for name, parameter in self.named_parameters() if parameter not in owner]
        if homeless:
            raise ConfigError(f"parameters without a part: {', '.join(homeless)}; name them in parts().")
        self.train()

    def train(self, mode: bool = True) -> "OrdinalMethod":
        """Switch between training and evaluation; wholly frozen modules stay in evaluation.

        Otherwise the statistics of a frozen tower's batch normalisation would drift with the data.
        """
        super().train(mode)
        for name, module in self.named_modules():
            trained = [parameter.requires_grad for parameter in module.parameters()]
            if name and trained and not any(trained):
                module.eval()
        return self

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Add the level and rank of each target, here on the host, where finding one outside the scale costs no wait.

        Raises:
            ScaleError: If a target lies outside the scale.
        """
        if "target" not in batch:
            return batch
        target = batch["target"]
        return {**batch, "level": self.scale.to_level(target), "rank": self.scale.to_rank(target)}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        return self._loss(batch, self._evaluate(batch, "train"), "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the validation metrics and the loss."""
        self._loss(batch, self._evaluate(batch, "val"), "val")

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Update the test metrics and return the predictions, the fields of a `Prediction`.

        No loss: parts of it contrast the images of one batch, so that its mean depends on how many processes share the
        work. A test result must not.
        """
        return self._predict(batch, self._evaluate(batch, "test"))._asdict()

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        """Predict one batch, with or without targets."""
        return self._predict(batch, self._output(batch))

    def _output(self, batch: Batch) -> Output:
        """Return what the method says of a batch of images, or of features that were computed before."""
        if "features" in batch:
            return self.read(batch["features"])
        output: Output = self(batch["image"])
        return output

    def _predict(self, batch: Batch, output: Output) -> Prediction:
        probabilities = self._probabilities(output)
        return Prediction(batch["index"], output.value, probabilities.argmax(dim=-1), probabilities)

    def sure_of(self, value: Tensor, raw: Tensor | None = None) -> Output:
        """Return the output of a method that predicts the number alone: the level of the nearest value is certain.

        Args:
            value: The predicted number in the target's unit, (B,).
            raw: As in `Output`.
        """
        level = self.scale.level_at(value.detach())
        return Output(F.one_hot(level, self.scale.num_levels).float().log(), value, raw)

    def _probabilities(self, output: Output) -> Tensor:
        """Return the probability of each level, (B, K), also where logits are over ranks."""
        over_levels = output.logits.shape[1] == self.scale.num_levels
        logits = output.logits if over_levels else self.scale.pool_ranks(output.logits)
        return logits.float().softmax(dim=-1)

    def _evaluate(self, batch: Batch, stage: Stage) -> Output:
        output = self._output(batch)
        metrics = getattr(self, f"{stage}_metrics")
        own = self._own_samples(batch, stage)
        target, level = batch["target"][own], batch["level"][own]
        if len(target):
            metrics["value"].update(output.value.detach()[own], target)
            metrics["level"].update(self._probabilities(output).argmax(dim=-1)[own], level)
        if stage == "test" and "spread" in batch:
            self.test_epsilon.update(output.value[own], target, batch["spread"][own])
            self.log("test_epsilon", self.test_epsilon, on_step=False, on_epoch=True)
        for collection in metrics.values():
            for name, metric in collection.items():
                self.log(
                    name,
                    metric,
                    on_step=False,
                    on_epoch=True,
                    prog_bar=name == "val_mae",
                    batch_size=len(batch["target"]),
                )
        return output

    def _loss(self, batch: Batch, output: Output, stage: Stage) -> Tensor:
        losses = self.losses(output, batch)
        loss = torch.stack(list(losses.values())).sum()
        parts = {f"{stage}_loss": loss, **{f"{stage}_loss_{name}": part for name, part in losses.items()}}
        self.log_dict(parts, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch["target"]))
        return loss

    def _own_samples(self, batch: Batch, stage: Stage) -> Tensor | slice:
        """Choose the samples that this process is to count.

        A DistributedSampler gives every process equally many samples, repeating some at the end. Without shuffling,
        process r of W owns the positions r, r+W, r+2W, ...; a repeated sample arrives at a process that doesn't own it.
        """
        if stage == "train" or self.trainer.world_size == 1:
            return slice(None)
        return batch["index"] % self.trainer.world_size == self.trainer.global_rank

    def _duration(self, interval: Interval) -> int:
        """Return the length of the training in epochs or optimiser steps."""
        if interval == "step":
            length, mend = self.trainer.estimated_stepping_batches, "trainer.max_epochs or trainer.max_steps"
        else:
            epochs, mend = self.trainer.max_epochs, "trainer.max_epochs, or lr_scheduler.interval=step"
            length = -1 if epochs is None else epochs
        if length == math.inf or length < 0:
            raise ConfigError(f"a schedule, or a training in stages, needs to know its end: set {mend}.")
        return int(length)

    def on_train_start(self) -> None:
        """Refuse to resume a schedule that was laid out for a shorter training.

        Raises:
            ConfigError: If the checkpoint's schedule ends before this training does.
        """
        if self.scheduler_spec is None:
            return
        duration = self._duration(self.scheduler_spec.interval)
        # A schedule that has ended breaks off (OneCycleLR), or climbs again (CosineAnnealingLR).
        lengths = [name for name in ("total_steps", "T_max") if name not in self.scheduler_spec.args]
        for schedule, name in product(self.trainer.lr_scheduler_configs, lengths):
            planned = getattr(schedule.scheduler, name, duration)
            if planned < duration:
                raise ConfigError(
                    f"the checkpoint's {self.scheduler_spec.name} was laid out for {planned} "
                    f"{self.scheduler_spec.interval}s, this training takes {duration}; resume with the length it had, "
                    "or start a new fit."
                )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser, a group for each trained part, and the schedule."""
        parts = {part: list(parameters) for part, parameters in self.parts().items()}
        optimizer = build_optimizer(self.optimizer_spec, parts, self.learning_rates)
        if self.scheduler_spec is None:
            return optimizer
        interval = self.scheduler_spec.interval
        scheduler = build_scheduler(self.scheduler_spec, optimizer, self._duration(interval))
        # ReduceLROnPlateau reads the monitor, the others don't.
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": interval, "monitor": "val_mae"},
        }
