"""Averaged weights: an exponential moving average of what a fit trains, which is validated, kept and tested."""

import logging
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, WeightAveraging
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.solved import UntrainedMethod
from numclip_lightning.runs.shares import of_all_processes

__all__ = ["AverageWeights", "decay_at", "end_lightnings_averages"]

_log = logging.getLogger(__name__)

_KEY = "averaging"


class AverageWeights(Callback):
    """Keeps an exponential moving average (EMA) of the trained weights; it is what a fit validates, keeps and tests.

    After every optimiser step: `average = d average + (1 - d) weights`, with `d` as `decay_at` returns it. It grows
    with the number of steps, so that the average covers about the last ninth of a short training, and needs no tuning.
    Training itself goes on from its own weights, and its training metrics are theirs.

    Averaged are the trained parameters, and the running means and variances of batch normalisation (those of all
    processes are averaged too, before each validation). Whatever else is in the model is left as it is: frozen parts,
    counters, settings that a validation chooses.

    In a checkpoint, `state_dict` has the averages, and the weights that training goes on from are beside them, with the
    averages of what batch normalisation has seen in each process; a training that is resumed continues all. Methods
    that are solved are left alone: there are no steps to average.

    Lightning's own `EMAWeightAveraging` averages whole modules, frozen towers and integers too, puts the weights back
    before a method has measured what it has selected, and writes past the counters by which prototypes are kept.

    Args:
        decay: The most weight that the average so far has in a step, in [0, 1); 0 averages nothing.
        start: The optimiser step after which the average begins, 0 or more.

    Raises:
        ConfigError: If an argument is out of its range.
    """

    def __init__(self, decay: float = 0.0, start: int = 0) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(
                f"averaging.decay is {decay}; give a number in [0, 1), such as 0.999, or 0 to average nothing."
            )
        if start < 0:
            raise ConfigError(f"averaging.start is {start}; give a number of steps of 0 or more.")
        self.decay = decay
        self.start = start
        self._forget()

    def _forget(self) -> None:
        self._average: dict[str, Tensor] = {}
        self._updates = 0
        self._step = 0
        # The weights as they are trained, while the averages are in their place.
        self._trained: dict[str, Tensor] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Forget what an earlier fit has averaged.

        Raises:
            ConfigError: If checkpoints would not hold the averages.
        """
        if stage != "fit":
            return
        self._forget()
        self.active = self.decay > 0 and not isinstance(pl_module, UntrainedMethod)
        if self.decay > 0 and not self.active:
            _log.info("averaging: %s is not trained in steps; nothing is averaged", type(pl_module).__name__)
        keepers = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
        if self.active and any(keeper.save_weights_only for keeper in keepers):
            raise ConfigError(
                "checkpoint.save_weights_only keeps the weights of the last step and not their average; leave it out, "
                "or set averaging.decay=0."
            )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average after an optimiser step."""
        if not self.active or trainer.global_step in (0, self._step) or trainer.global_step <= self.start:
            return
        self._step = trainer.global_step
        live = _averaged(pl_module)
        with torch.no_grad():
            if not self._average:
                self._average = {name: tensor.detach().clone() for name, tensor in live.items()}
                return
            self._updates += 1
            weight = 1 - decay_at(self._updates, self.decay)
            # A weighted step towards the weights: what rests stays as it is, to the last bit.
            for name, tensor in live.items():
                self._average[name].lerp_(tensor.to(self._average[name].device), weight)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the averages in place of the weights during a validation of the fit."""
        if trainer.state.fn == "fit":
            self._put_averages(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the weights back. Not earlier: methods that select settings measure at the end of the epoch."""
        self._put_weights(pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Put the weights back if a validation was interrupted."""
        self._put_weights(pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the averages in the model, for a test without a checkpoint."""
        self._put_averages(trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Free the memory, after the last checkpoint."""
        self._forget()

    def state_dict(self) -> dict[str, Any]:
        """Return how many steps are averaged; Lightning warns if a fit is resumed without this callback."""
        return {"updates": self._updates, "step": self._step} if self._average else {}

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the averages into `state_dict`, and beside them what training goes on from."""
        if not self._average:
            return
        state = checkpoint["state_dict"]
        weights = self._trained or {name: state[name] for name in self._average}
        checkpoint[_KEY] = {"updates": self._updates, "step": self._step, "weights": dict(weights)}
        if trainer.world_size > 1 and (own := {name: self._average[name].cpu() for name in _statistics(pl_module)}):
            checkpoint[_KEY]["statistics"] = of_all_processes(own, trainer)
        checkpoint["state_dict"] = {**state, **self._average}

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on from the weights and the average of a checkpoint; begin an average if it has none."""
        if trainer.state.fn != "fit" or not self.active:
            return
        if _KEY not in checkpoint:
            _log.info("averaging: the checkpoint has no average; it begins with its weights")
            return
        kept = checkpoint[_KEY]
        live, weights = _averaged(pl_module), kept["weights"]
        self._updates, self._step = kept["updates"], kept["step"]
        averages, shares = checkpoint["state_dict"], kept.get("statistics", ())
        if len(shares) == trainer.world_size:
            averages = {**averages, **shares[trainer.global_rank]}
        self._average = {name: averages[name].clone().to(live[name].device) for name in weights}
        _write(live, weights)

    def _put_averages(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self._average or self._trained:
            return
        # Validations run in inference mode, whose tensors training can't use.
        with torch.inference_mode(mode=False), torch.no_grad():
            live = _averaged(pl_module)
            if trainer.world_size > 1:
                # Weights are the same in all processes, what batch normalisation has seen is not.
                for name in _statistics(pl_module):
                    self._average[name].copy_(trainer.strategy.reduce(self._average[name].clone(), reduce_op="mean"))
            self._trained = {name: tensor.detach().clone() for name, tensor in live.items()}
            _write(live, self._average)

    def _put_weights(self, pl_module: L.LightningModule) -> None:
        if self._trained:
            _write(_averaged(pl_module), self._trained)
            self._trained = {}


def decay_at(updates: int, decay: float) -> float:
    """Return the weight of the average so far in a step: `min(decay, (1 + t) / (10 + t))`.

    Args:
        updates: The number t of the update, from 1 on.
        decay: The most.

    Example:
        >>> decay_at(1, 0.999), decay_at(8, 0.999), decay_at(100000, 0.999)
        (0.18181818181818182, 0.5, 0.999)
    """
    return min(decay, (1 + updates) / (10 + updates))


def end_lightnings_averages(trainer: L.Trainer) -> None:
    """Take Lightning's own averages of weights out of a trainer whose fit has ended.

    When the trainer that has averaged tests a checkpoint, Lightning's callback would put the weights that training goes
    on from in place of the averages: the test would be of another model than the one that is kept.
    """
    kept = [callback for callback in trainer.callbacks if not isinstance(callback, WeightAveraging)]  # type: ignore[attr-defined]
    trainer.callbacks = kept  # type: ignore[attr-defined]


def _statistics(module: nn.Module) -> dict[str, Tensor]:
    """Return the running means and variances of batch normalisation by name."""
    found = {}
    for name, part in module.named_modules():
        if isinstance(part, _NormBase):
            named = {"running_mean": part.running_mean, "running_var": part.running_var}
            found.update({f"{name}.{key}": value for key, value in named.items() if value is not None})
    return found


def _averaged(module: nn.Module) -> dict[str, Tensor]:
    """Return what is averaged, by its name in the `state_dict`: trained parameters and running statistics."""
    named = module.named_parameters(remove_duplicate=False)
    return {**{name: tensor for name, tensor in named if tensor.requires_grad}, **_statistics(module)}


def _write(live: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    """Write values into the tensors of a model, in place, so that whoever counts their changes sees it."""
    with torch.inference_mode(mode=False), torch.no_grad():
        for name, value in values.items():
            live[name].copy_(value)
