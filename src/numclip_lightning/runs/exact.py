"""A resumed fit ends as one that was never stopped: seeds by the step, and what an epoch has summed up."""

import os
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torchmetrics import Metric

from numclip_lightning.models.feature_smoothing import FeatureSmoothing
from numclip_lightning.runs.shares import of_all_processes
from numclip_lightning.seeds import SEED_VARIABLE, run_seed, seed_libraries, seed_of

__all__ = ["ExactResume", "step_seed"]

_KEY = "epoch_sums"
_SCORES = "plateau_scores"
_VALIDATED = "validated"
# What the seeds of a step are for.
_EPOCH, _STEP, _VALIDATION = range(3)


class ExactResume(Callback):
    """Makes the rest of a fit a function of its checkpoint alone.

    - Before every step the generators of Python, NumPy and torch are seeded from the seed of the run, the epoch, the
      step and the process. So no generator's state needs to be kept, and none depends on what was drawn before: by
      validations, by another number of loading processes, or by a library that keeps its state to itself. The order
      and the crops of training images have seeds of their own (`TrainSampler`).
    - A checkpoint within an epoch has the running sums of the training metrics and losses, of each process, which
      Lightning leaves out.
    - A checkpoint has the last validation's metrics, which callbacks and schedulers monitor; and at the end of an epoch
      the score that a plateau scheduler is about to see: Lightning shows it after the checkpoint, and not again.
    - A checkpoint has the seed of the run. A fit that is resumed with another one goes on with the first.
    """

    def __init__(self) -> None:
        self._seed = 0
        self._drawn = False
        self._pending: dict[str, Any] | None = None
        self._resumed = False
        self._scores: dict[int, float] = {}
        self._validated: dict[str, Tensor] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Agree on a seed, where `seed_everything` is off."""
        if stage != "fit":
            return
        self._pending, self._scores, self._validated = None, {}, {}
        self._drawn = SEED_VARIABLE not in os.environ
        self._take(run_seed(trainer))

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave no seed behind that nobody has set."""
        if self._drawn:
            os.environ.pop(SEED_VARIABLE, None)

    def _take(self, seed: int) -> None:
        self._seed = seed
        os.environ[SEED_VARIABLE] = str(seed)

    def state_dict(self) -> dict[str, Any]:
        """Keep the seed of the run."""
        return {"seed": self._seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the seed that the fit has begun with."""
        self._take(state_dict["seed"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Bring back what was measured last, and show plateau schedulers the score of the epoch that has ended."""
        # Lightning has looked for the place in the epoch too early, where a schedule has asked for the number of steps.
        trainer.fit_loop._load_combined_loader_states()
        for place, score in self._scores.items():
            plateau: Any = trainer.lr_scheduler_configs[place].scheduler
            plateau.step(score)
        self._scores = {}
        trainer._logger_connector._callback_metrics.update(self._validated)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed what an epoch draws before its first step."""
        self._sow(trainer, _EPOCH, trainer.current_epoch)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed what a validation of the fit draws."""
        if trainer.state.fn == "fit":
            self._sow(trainer, _VALIDATION, trainer.global_step)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed a step; in the first one after a resume, go on with the sums of the metrics."""
        if self._pending is not None:
            self._resumed = True
            for name, state in self._pending["modules"].items():
                _load_sums(pl_module.get_submodule(name), state)
        self._sow(trainer, _STEP, trainer.current_epoch, batch_idx)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the sums of the logged losses to those of the first step after a resume, which has made their places."""
        # It stays so until the end of the epoch in Lightning, which then leaves out its plateau schedulers.
        trainer.fit_loop._restarting = False
        if self._pending is not None:
            logged, self._pending = self._pending["logged"], None
            for key, result in _logged(trainer).items():
                if key in logged:
                    result.value = result.value + logged[key]["value"].to(result.value.device)
                    count = logged[key]["count"].to(result.cumulated_batch_size.device)
                    result.cumulated_batch_size = result.cumulated_batch_size + count

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the metrics that were resumed and that no later batch has updated: Lightning knows what is logged."""
        resumed, self._resumed = self._resumed, False
        if not resumed:
            return
        known = {result.meta.name for result in trainer.fit_loop.epoch_loop._results.values()}
        for collection in getattr(pl_module, "train_metrics", {}).values():
            for name, metric in collection.items():
                if name not in known and metric.update_called:
                    pl_module.log(name, metric, on_step=False, on_epoch=True)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the sums of an epoch that is not at its end, of every process."""
        if trainer.state.fn != "fit":
            return
        checkpoint[_VALIDATED] = {
            key: value.detach().cpu() for key, value in trainer.callback_metrics.items() if key.startswith("val_")
        }
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            # The next epoch begins at its first batch, also where `limit_train_batches` has ended this one.
            for state in checkpoint["loops"]["fit_loop"]["state_dict"].get("combined_loader", ()):
                state["batches"] = 0
            checkpoint[_SCORES] = _plateau_scores(trainer)
            return
        own = {
            "modules": {name: _sums_of(module) for name, module in _summing(pl_module).items()},
            "logged": {
                key: {"value": result.value.cpu(), "count": result.cumulated_batch_size.cpu()}
                for key, result in _logged(trainer).items()
            },
        }
        checkpoint[_KEY] = of_all_processes(own, trainer)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember the sums of this process, if there are as many processes as before, and the scores of schedulers."""
        if trainer.state.fn != "fit":
            return
        self._scores, self._validated = checkpoint.get(_SCORES, {}), checkpoint.get(_VALIDATED, {})
        sums = checkpoint.get(_KEY)
        if sums is not None and len(sums) == trainer.world_size:
            self._pending = sums[trainer.global_rank]

    def _sow(self, trainer: L.Trainer, *place: int) -> None:
        seed_libraries(seed_of(self._seed, trainer.global_rank, *place))


def step_seed(seed: int, process: int, epoch: int, batch_idx: int) -> int:
    """Return what the generators are seeded with before a step.

    Args:
        seed: The seed of the run.
        process: The number of the process.
        epoch: The number of the epoch.
        batch_idx: The place of the batch in it.
    """
    return seed_of(seed, process, _STEP, epoch, batch_idx)


def _plateau_scores(trainer: L.Trainer) -> dict[int, float]:
    """Return the score that each plateau scheduler sees at the end of this epoch, by its place."""
    return {
        place: float(trainer.callback_metrics[str(config.monitor)])
        for place, config in enumerate(trainer.lr_scheduler_configs)
        if config.reduce_on_plateau
        and config.interval == "epoch"
        and (trainer.current_epoch + 1) % config.frequency == 0
        and config.monitor in trainer.callback_metrics
    }


def _summing(module: nn.Module) -> dict[str, nn.Module]:
    """Return what sums up something over an epoch, by name."""
    return {
        name: part
        for name, part in module.named_modules()
        if (isinstance(part, Metric) and part.update_called) or isinstance(part, FeatureSmoothing)
    }


def _sums_of(part: nn.Module) -> dict[str, Any]:
    """Return the sums of a metric, or of the statistics of features, in main memory."""
    if isinstance(part, FeatureSmoothing):
        return {name: sums.cpu() for name, sums in part.sums().items()}
    assert isinstance(part, Metric)
    states = {name: _to_cpu(getattr(part, name)) for name in part._defaults}
    return {"updates": part._update_count, "states": states}


def _load_sums(part: nn.Module, kept: dict[str, Any]) -> None:
    if isinstance(part, FeatureSmoothing):
        part.load_sums(kept)
        return
    assert isinstance(part, Metric)
    part._update_count, part._computed = kept["updates"], None
    for name, state in kept["states"].items():
        moved = [one.to(part.device) for one in state] if isinstance(state, list) else state.to(part.device)
        setattr(part, name, moved)


def _to_cpu(state: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    # A copy: the metric goes on in place.
    return [one.detach().cpu().clone() for one in state] if isinstance(state, list) else state.detach().cpu().clone()


def _logged(trainer: L.Trainer) -> dict[str, Any]:
    """Return Lightning's running means of what was logged in the epoch, by the key that it has for them."""
    results = trainer.fit_loop.epoch_loop._results
    return {
        key: result
        for key, result in results.items()
        if result.is_tensor and result.meta.on_epoch and result.meta.is_mean_reduction
    }
