"""A step whose gradients are not finite: which images it has, what repeats it, and what to do; and a word before."""

import logging
import math
import statistics
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from numclip_lightning.errors import ConfigError, RunError, check_choice
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.mixing import mix_batch
from numclip_lightning.methods.base.saved import NOT_ARGUMENTS, method_class, read_checkpoint
from numclip_lightning.runs.durable import replacing
from numclip_lightning.runs.endings import kept_files
from numclip_lightning.runs.exact import step_seed
from numclip_lightning.runs.folder import run_folder
from numclip_lightning.runs.shares import of_all_processes
from numclip_lightning.seeds import run_seed, seed_libraries

__all__ = ["NonFiniteSteps", "OnNonFinite", "images_of", "replay"]

_log = logging.getLogger(__name__)

OnNonFinite = Literal["raise", "skip"]

_SHOWN = 10
# So many times its median, over as many logged steps as there are so far, is no longer the way of a training.
_EXPLODES, _LEAST, _MOST = 100.0, 5, 200


class NonFiniteSteps(Callback):
    """Looks at the gradients before a step is made: those that are not finite never reach a weight.

    `raise` stops, with the images of the batch and `non_finite.pt` in the run folder, which `replay` repeats. `skip`
    leaves the step out, says which images it had, and goes on; the epoch's mean of the training loss is then not finite
    either. On a GPU, `raise` does not look at every step, which would wait for the device: `StopDiverged` stops within
    `log_every_n_steps` steps. With `16-mixed`, such steps are a part of the method, and are left to it.

    A gradient norm of over a hundred times its median is warned of, at the steps that are logged; not with `16-mixed`.

    Args:
        mode: `raise` or `skip`.

    Attributes:
        skipped: How many steps were left out.
        norm: The L2 norm of the gradients of the last step, before clipping; None if it is not finite, or the step is
            not logged.
    """

    def __init__(self, mode: OnNonFinite = "raise") -> None:
        check_choice("on_non_finite", mode, get_args(OnNonFinite))
        self.mode = mode
        self.skipped = 0
        self.norm: float | None = None
        self._norms: deque[float] = deque(maxlen=_MOST)
        self._batches: list[tuple[int, Any]] = []
        self._warned = False

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember the batches whose gradients are added up."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._batches = []
        if isinstance(batch, dict):
            self._batches.append((batch_idx, batch))

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Look at the gradients.

        Raises:
            RunError: If one is not finite, and the mode is `raise`.
        """
        steps = trainer.log_every_n_steps  # type: ignore[attr-defined]
        is_logged = bool(steps) and trainer.global_step % steps == 0
        looks = pl_module.device.type == "cpu" or self.mode == "skip"
        is_scaled = str(trainer.precision) == "16-mixed"
        self.norm = None
        if not (is_logged or (looks and not is_scaled)):
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = float(get_total_norm(gradients)) if gradients else 0.0
        is_finite = math.isfinite(norm)
        if is_logged and is_finite:
            self.norm = norm
        if is_scaled:
            return
        if not is_finite:
            # Too large for the norm is not too large for the numbers.
            if not all(bool(gradient.isfinite().all()) for gradient in gradients):
                self._act(trainer, pl_module, optimizer)
        elif is_logged:
            self._watch(trainer, norm)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let go of the images."""
        if not trainer.fit_loop.epoch_loop._should_accumulate():
            self._batches = []

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say how many steps were left out."""
        if self.skipped:
            _log.warning("on_non_finite=skip: %d steps were left out", self.skipped)

    def _act(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        names = [name for name, p in pl_module.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        place = f"step {trainer.global_step} (epoch {trainer.current_epoch})"
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        found = f"the gradient of {names[0]}{more} is not finite at {place}" if names else f"not finite at {place}"
        images = "; ".join(images_of(trainer, [batch["index"] for _, batch in self._batches]))
        if self.mode == "skip":
            self.skipped += 1
            _log.warning("on_non_finite=skip: %s; the step is left out. Its images: %s", found, images)
            for parameter in pl_module.parameters():
                parameter.grad = None
            return
        folder = run_folder(trainer)
        dump = folder / "non_finite.pt"
        if isinstance(pl_module, OrdinalMethod) and self._batches:
            images = _keep_worst(dump, trainer, pl_module, self._batches)
        raise RunError(
            f"the training has diverged: {found}. Images of this batch: {images}. Likely causes are learning rates "
            "that are too high for these data, or a loss without a limit: lower model.learning_rates, set "
            "trainer.gradient_clip_val=1, or leave such steps out with on_non_finite=skip. To repeat the step:\n"
            f'  python -c "from numclip_lightning.runs.non_finite import replay; print(replay({str(dump)!r}))"\n'
            f"{kept_files(folder)}"
        )

    def _watch(self, trainer: L.Trainer, norm: float) -> None:
        """Warn once of a norm that is far from those before."""
        usual = statistics.median(self._norms) if len(self._norms) >= _LEAST else 0.0
        self._norms.append(norm)
        if usual and norm > _EXPLODES * usual and not self._warned:
            self._warned = True
            _log.warning(
                "the gradients explode: their norm at step %d (epoch %d) is %.3g, %.0f times its median so far; if "
                "the loss does not fall, lower model.learning_rates or set trainer.gradient_clip_val=1",
                trainer.global_step, trainer.current_epoch, norm, norm / usual,
            )  # fmt: skip


def replay(path: str | Path) -> dict[str, float]:
    """Repeat the step that a file `non_finite.pt` holds, with its weights, images and random numbers.

    Args:
        path: The file.

    Returns:
        Each part of the loss, and `gradient`, the norm of all gradients.

    Raises:
        ConfigError: If it is no such file.
    """
    kept = read_checkpoint(path)
    if "step" not in kept:
        raise ConfigError(f"{path} is a checkpoint, but holds no step; give the non_finite.pt of a run folder.")
    known, kind = kept["hyper_parameters"], method_class(kept, path)
    arguments = {key: value for key, value in known.items() if key not in NOT_ARGUMENTS}
    method = kind(**arguments, backbone=known["backbone"], pretrained=None)
    method.load_state_dict(kept["state_dict"])
    method.train()
    return _repeat(method, kept["step"])


def _repeat(method: OrdinalMethod, step: dict[str, Any]) -> dict[str, float]:
    """Return each part of the loss of a step, and the norm of all gradients."""
    seed_libraries(step_seed(step["seed"], step["process"], step["epoch"], step["batch_idx"]))
    losses = method._joined_losses(method._output(step["batch"]), step["batch"])
    trained = [p for p in method.parameters() if p.requires_grad]
    # Not into the parameters, where processes would wait for each other's.
    gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), trained, allow_unused=True)
    return {
        **{name: float(loss.detach()) for name, loss in losses.items()},
        "gradient": float(get_total_norm([gradient for gradient in gradients if gradient is not None])),
    }


def _keep_worst(
    path: Path, trainer: L.Trainer, method: OrdinalMethod, batches: Sequence[tuple[int, dict[str, Tensor]]]
) -> str:
    """Write the batch that is not finite, of those that are summed up in a step, here and in other processes.

    Returns:
        The images of such batches; those of all if each alone is finite.
    """
    kept = trainer._checkpoint_connector.dump_checkpoint(weights_only=True)
    steps = [_step(trainer, method, *batch) for batch in batches]
    with trainer.precision_plugin.forward_context():
        # Each of them: where losses are gathered, every process takes part.
        bad = [not all(map(math.isfinite, _repeat(method, step).values())) for step in steps]
    known = [batch["index"].tolist() for _, batch in batches]
    mine = (
        [index for indices, is_bad in zip(known, bad, strict=True) if is_bad for index in indices],
        [index for indices in known for index in indices],
    )
    # Processes whose gradients are not the same don't all come here.
    shares = of_all_processes(mine, trainer) if isinstance(trainer.strategy, DDPStrategy) else [mine]
    writer = next((process for process, (found, _) in enumerate(shares) if found), 0)
    if trainer.global_rank == writer:
        step = steps[bad.index(True) if any(bad) else -1]
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            batch = {name: found.cpu() for name, found in step["batch"].items()}
            torch.save({**kept, "step": {**step, "batch": batch}}, part)
    several = [found for found, _ in shares if found] or [found for _, found in shares]
    return "; ".join(images_of(trainer, [torch.tensor(indices) for indices in several]))


def _step(trainer: L.Trainer, method: OrdinalMethod, batch_idx: int, batch: dict[str, Tensor]) -> dict[str, Any]:
    """Return what repeats a batch: its images as they were mixed, and its seed."""
    if method.imbalance.weights != "none":
        batch = {**batch, "weight": method._weights_of(batch)}
    if method.mix:
        places = method.scale.axis.of(batch["target"])
        batch = mix_batch(batch, method.mix, trainer.current_epoch, batch_idx, trainer.global_rank, places)
    return {
        "seed": run_seed(),
        "process": trainer.global_rank,
        "epoch": trainer.current_epoch,
        "batch_idx": batch_idx,
        "batch": batch,
    }


def images_of(trainer: L.Trainer, batches: Sequence[Tensor]) -> list[str]:
    """Return the training images of batches, the first ten by their names where the list is known.

    Args:
        trainer: Its datamodule has the list.
        batches: The indices of each.
    """
    found = [index for batch in batches for index in batch.tolist()]
    labels = getattr(getattr(trainer, "datamodule", None), "labels", None)
    names = [
        f"{table[index].where} {table[index].path}" if index < len(table) else f"synthetic {index}"
        for table in ([labels("train")] if labels else [])
        for index in found[:_SHOWN]
    ] or [str(index) for index in found[:_SHOWN]]
    return names + ([f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else [])
