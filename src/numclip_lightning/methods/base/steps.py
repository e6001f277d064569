"""Shared steps of training, validation and test: from a batch to losses, metrics and log."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.gathering import gather_batch
from numclip_lightning.methods.base.mixing import MixSpec, is_mixed, mix_batch, of_partner
from numclip_lightning.methods.base.predicting import PredictingSteps
from numclip_lightning.methods.base.raters import Raters, rater_distribution
from numclip_lightning.methods.base.types import Batch, Output, Prediction, Split
from numclip_lightning.metrics import DEFAULT, EpsilonError, Needs, build_metrics, choose

__all__ = ["OrdinalSteps"]


class OrdinalSteps(PredictingSteps):
    """One step for training, validation and test; `OrdinalMethod` adds construction and the classes between the rest.

    Attributes:
        mix: How training images are mixed; None leaves them as they are.
        raters: What losses make of the votes of several raters.
        gather: Whether the loss of a training step is that of the images of all processes.
        shared_extras: The extras of an output that are not of its images but the same in all processes.
        validated: The predictions of the last validation, a batch each; of this process.
    """

    mix: MixSpec | None
    raters: Raters
    gather: bool
    shared_extras: ClassVar[tuple[str, ...]] = ("prototypes",)
    validated: list[Prediction]

    @abstractmethod
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted parts of the loss, scalars by name; the loss is their sum.

        Args:
            output: The output of `forward` for the images.
            batch: `target` (B,), and `level` and `rank`, int64 (B,).
        """

    def build_metrics(self, tolerance: float, names: Sequence[str] = DEFAULT) -> None:
        """Build the metrics of each split.

        Args:
            tolerance: The k of the cumulative score CS@k, in the target's unit.
            names: Those of validation and test, see `choose`. Training has only those of the default among them, so
                that a step pays for no other.

        Raises:
            ConfigError: If a name is not known, or the tolerance is no distance.
        """
        chosen, default = choose(names, tolerance), choose(DEFAULT, tolerance)
        for split in ("train", "val", "test"):
            keys = [key for key in chosen if key in default or split != "train"]
            metrics = build_metrics(keys, self.scale)
            # The names of modules are strings to mypy.
            own = {str(needs): collection.clone(prefix=f"{split}_") for needs, collection in metrics.items()}
            setattr(self, f"{split}_metrics", nn.ModuleDict(own))
        self.test_epsilon = EpsilonError()

    @property
    def loss_unit(self) -> float:
        """Unit of losses of the number: a step of the scale, as published, but at least a thousandth of its range.

        In steps of a dollar the loss of a price would be in millions, and the first training step would end in NaN. On
        a logarithmic scale it is a distance of logarithms: losses take the places of its axis.
        """
        axis = self.scale.axis
        return max(axis.step, (axis.maximum - axis.minimum) / 1000)

    def value_places(self, output: Output, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the places of predicted and true numbers on the axis of the scale, (B,) each; losses compare them."""
        axis = self.scale.axis
        return axis.of(output.value), axis.of(batch["target"])

    def with_levels(self, batch: Batch) -> Batch:
        """Return the batch with the `level` and `rank` of each `target`, int64 of the same shape and device.

        With `raters="distribution"` it also has the `distribution` of the votes on each image, (B, R).

        Raises:
            ScaleError: If a target is outside the scale.
        """
        target = batch["target"]
        batch = {**batch, "level": self.scale.to_level(target), "rank": self.scale.to_rank(target)}
        return {**batch, "distribution": rater_distribution(batch, self.scale)} if self.raters != "mean" else batch

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Add levels and ranks on the host, where the check of the scale does not wait for a device.

        Raises:
            ScaleError: If a target is outside the scale.
        """
        return self.with_levels(batch) if "target" in batch else batch

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch, whose images are mixed if `mix` asks for it.

        Raises:
            ConfigError: If the votes of raters are asked for, and the training list has none.
        """
        if self.raters != "mean" and not {"votes", "spread"} & batch.keys():
            raise ConfigError(
                f"raters is {self.raters!r}, but the training list has neither votes nor the spread of each target; "
                "give a list that has them (see docs/raters.md), or set raters=mean."
            )
        if self.mix:
            places = self.scale.axis.of(batch["target"])
            batch = mix_batch(batch, self.mix, self.current_epoch, batch_idx, self.global_rank, places)
        return self._loss(batch, self._evaluate(batch, "train"), "train")

    def on_validation_epoch_start(self) -> None:
        """Forget the predictions of the validation before."""
        super().on_validation_epoch_start()
        self.validated = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the validation metrics and the loss, and keep the predictions."""
        output = self._evaluate(batch, "val")
        self.validated.append(self._predict(batch, output))
        self._loss(batch, output, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Update the test metrics and return the predictions, the fields of a `Prediction`.

        Without a loss: parts of it contrast the images of one batch, so that its mean depends on the number of
        processes. A test result must not.
        """
        output = self._evaluate(batch, "test")
        return self._predict(batch, output)._asdict()

    def own_samples(self, batch: Batch, split: Split) -> Tensor | slice:
        """Select the samples that this process counts.

        A DistributedSampler gives every process the same number of samples and repeats some at the end. Without
        shuffling, process r of W owns the indices r, r+W, r+2W, ...; a repeated sample arrives at another process.
        Synthetic training samples count nowhere.
        """
        if "synthetic" in batch:
            return ~batch["synthetic"]
        if split == "train" or self.trainer.world_size == 1:
            return slice(None)
        return batch["index"] % self.trainer.world_size == self.trainer.global_rank

    def _evaluate(self, batch: Batch, split: Split) -> Output:
        """Return the output for a batch; update and log the metrics of the split.

        A mixed image has no one number that a prediction could miss: training metrics are of the others.
        """
        output = self._output(batch)
        if is_mixed(batch):
            return output
        metrics = getattr(self, f"{split}_metrics")
        own = self.own_samples(batch, split)
        target = batch["target"][own]
        if len(target):
            for needs, arguments in self._measured(metrics, output, batch, own).items():
                metrics[needs].update(*arguments)
        if split == "test" and "spread" in batch:
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

    def _measured(
        self, kinds: Iterable[str], output: Output, batch: Batch, own: Tensor | slice
    ) -> dict[Needs, tuple[Tensor, ...]]:
        """Return what metrics of each kind are updated with, for the samples that this process counts."""
        value, target, level = output.value.detach()[own], batch["target"][own], batch["level"][own]
        found: dict[Needs, tuple[Tensor, ...]] = {"value": (value, target), "value_by_level": (value, target, level)}
        if {"level", "probabilities", "distribution"} & set(kinds):
            probabilities = self._probabilities(output).detach()[own]
            found["level"] = (probabilities.argmax(dim=-1), level)
            found["probabilities"], found["distribution"] = (probabilities, level), (probabilities, target)
        return {needs: arguments for needs, arguments in found.items() if needs in kinds}

    def _loss(self, batch: Batch, output: Output, split: Split) -> Tensor:
        """Return the loss of a batch; log it and its parts."""
        if split == "train" and self.gather:
            output, batch = gather_batch(output, batch, self.shared_extras)
        losses = self._joined_losses(output, batch)
        loss = torch.stack(list(losses.values())).sum()
        parts = {f"{split}_loss": loss, **{f"{split}_loss_{name}": part for name, part in losses.items()}}
        self.log_dict(parts, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch["target"]))
        return loss

    def _joined_losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the parts of the loss; those of mixed images are `lam` of their own and the rest of the partners'."""
        own = self._own_losses(output, batch)
        if not is_mixed(batch):
            return own
        other, lam = self._own_losses(output, of_partner(batch)), batch["lam"]
        return {name: lam * part + (1 - lam) * other[name] for name, part in own.items()}

    def _own_losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the parts of the loss for one target of each image."""
        return self.losses(output, batch)
