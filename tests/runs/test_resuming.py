"""A fit that is killed and resumed ends as one that was never stopped, bit for bit on a CPU."""

import os
import random
import signal
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging

from numclip_lightning import methods
from numclip_lightning.data import ListDataModule
from numclip_lightning.data.base.oversampling import OversampleSpec
from numclip_lightning.runs.averaging import AverageWeights
from numclip_lightning.runs.checkpoints import BestCheckpoint
from numclip_lightning.runs.exact import ExactResume
from numclip_lightning.runs.features import KeepFeatures
from numclip_lightning.runs.trainer import Trainer
from numclip_lightning.scale import OrdinalScale
from support.command import Numclip
from support.processes import in_processes
from support.resuming import KeepEach, differences, end_of, kept_at

SCALE = OrdinalScale(minimum=10, maximum=19, levels=[{"phrase": "few", "start": 10}, {"phrase": "many", "start": 15}])
FROZEN = {"image_encoder": 0, "head": 0.01}
TRAINED = {"image_encoder": 0.01, "head": 0.01}


class Kill(Callback):
    """Kills the process in a step, as a cluster does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


class Random(Callback):
    """Uses every generator in every step, and makes training depend on it: what libraries do, as dropout."""

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        drawn = random.random() + float(torch.rand(())) + float(np.random.rand())  # noqa: NPY002
        # Gradients of several processes are averaged, weights that are changed by hand are not.
        if trainer.world_size == 1:
            with torch.no_grad():
                next(p for p in pl_module.parameters() if p.requires_grad).add_(drawn * 1e-3)


# Each: arguments of the method, of the datamodule, of the trainer, and of the checkpoints.
FITS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}, {}, {}),
    "two workers": ({}, {"num_workers": 2}, {}, {}),
    "kept features and oversampling": (
        {"learning_rates": FROZEN}, {"augment": False, "oversample": OversampleSpec(to=1.0)}, {}, {},
    ),
    "cutmix and rare values": (
        {"learning_rates": TRAINED, "mix": {"prob": 0.7}}, {"sample_power": 1.0}, {}, {},
    ),
    "smoothed features": ({"learning_rates": TRAINED, "imbalance": {"fds": True}}, {}, {}, {}),
    "averages": ({"learning_rates": TRAINED, "backbone": "tiny-resnet"}, {"batch_size": 6}, {}, {"averaging": 0.9}),
    "Lightning's EMA": ({"learning_rates": TRAINED}, {}, {}, {"callback": lambda: EMAWeightAveraging(decay=0.9)}),
    "plateau": (
        {"lr_scheduler": {"name": "ReduceLROnPlateau", "args": {"patience": 0, "threshold": 10.0}}}, {}, {}, {},
    ),
    "a schedule by steps": ({"lr_scheduler": {"name": "OneCycleLR", "interval": "step"}}, {}, {}, {}),
    "accumulated gradients": ({}, {}, {"accumulate_grad_batches": 2}, {}),
    "validations within an epoch": ({}, {}, {"val_check_interval": 3}, {}),
    "validations of every second epoch": ({}, {}, {"check_val_every_n_epoch": 2}, {}),
    "a part of each epoch": ({}, {}, {"limit_train_batches": 4}, {}),
    "labels and patches by the epoch": (
        {"learning_rates": TRAINED, "temperature": {"start": 4, "end": 1}, "patch_dropout": {"share": 0.5, "until": 1}},
        {}, {}, {},
    ),
    "few numbers of a tower on a leash": (
        {"learning_rates": TRAINED, "tune": "lora", "leash": 3.0, "patch_dropout": {"by": "attention"}},
        {}, {}, {"averaging": 0.9},
    ),
    "by steps": ({}, {}, {"max_steps": 14, "max_epochs": -1}, {}),
}  # fmt: skip


def fit(
    data: Path,
    folder: Path,
    name: str,
    resume: Path | None = None,
    *,
    every: int = 1,
    seed: int = 1,
    kill_at: int = -1,
    processes: int = 1,
) -> L.Trainer:
    """Fit three epochs of six steps, with all of the project's callbacks that have a state."""
    method, loading, training, keeping = FITS[name]
    L.seed_everything(seed, verbose=False)
    arguments = {"scale": SCALE, "backbone": "tiny-vit", "pretrained": None, "lr_scheduler": None, **method}
    module = ListDataModule(**{
        "root": str(data), "train_file": "train.txt", "val_file": "val.txt", "image_size": 32, "batch_size": 4,
        "num_workers": 0, **loading,
    })  # fmt: skip
    checkpoints = BestCheckpoint(
        dirpath=folder / "checkpoints", filename="best", monitor="val_mae", save_last=True,
        enable_version_counter=False, every_n_train_steps=every,
    )  # fmt: skip
    averages = AverageWeights(keeping.get("averaging", 0.0))
    watching = [Kill(kill_at)] if kill_at >= 0 else [KeepEach()]
    callbacks = [ExactResume(), Random(), KeepFeatures(), averages, *(watching if resume is None else [])]
    callbacks += [keeping["callback"]()] if "callback" in keeping else []
    trainer = Trainer(**{
        "accelerator": "cpu", "devices": processes, "logger": False, "enable_progress_bar": False, "max_epochs": 3,
        "enable_model_summary": False, "callbacks": [*callbacks, checkpoints], "num_sanity_val_steps": 1, **training,
    })  # fmt: skip
    trainer.fit(methods.SORD(**arguments), datamodule=module, ckpt_path=resume, weights_only=True)
    return trainer


def ended(trainer: L.Trainer) -> dict[str, Any]:
    """Return what a fit has ended with."""
    last = torch.load(Path(str(trainer.checkpoint_callbacks[0].dirpath)) / "last.ckpt", weights_only=True)  # type: ignore[attr-defined]
    keys = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step", "averaging")
    best: Any = trainer.checkpoint_callbacks[0]
    return {
        **{key: last.get(key) for key in keys},
        "metrics": dict(trainer.callback_metrics),
        "best": best.best_model_score,
        "best weights": torch.load(best.best_model_path, weights_only=True)["state_dict"],
    }


# With two processes.
SHARED = (
    "kept features and oversampling", "cutmix and rare values", "smoothed features", "averages", "Lightning's EMA",
    "two workers",
)  # fmt: skip
# One resume of each; the others are of the slow ones, with two.
QUICK = ("cutmix and rare values", "a schedule by steps")


@pytest.mark.filterwarnings("ignore:Found .* in eval mode")
@pytest.mark.parametrize(
    ("name", "number"),
    [(name, 1) for name in QUICK]
    + [pytest.param(name, 2, marks=pytest.mark.slow) for name in FITS if name not in QUICK],
)
def test_what_a_kill_leaves_is_enough(data: Path, tmp_path: Path, name: str, number: int) -> None:
    expected = ended(fit(data, tmp_path / "whole", name))
    kept = kept_at(tmp_path / "whole")
    for checkpoint in random.Random(name).sample(kept, number):
        found = ended(fit(data, tmp_path / checkpoint.stem, name, checkpoint))
        assert not differences(found, expected), f"{checkpoint.stem} of {[file.stem for file in kept]}"


def test_another_number_of_workers_and_another_seed_go_on_as_before(data: Path, tmp_path: Path) -> None:
    expected = ended(fit(data, tmp_path / "whole", "plain"))
    checkpoint = kept_at(tmp_path / "whole")[8]
    assert not differences(ended(fit(data, tmp_path / "two", "two workers", checkpoint, seed=7)), expected)


def test_what_goes_by_the_epoch_is_that_of_the_epoch_within_it_too(data: Path, tmp_path: Path) -> None:
    """Lightning begins no epoch again where a fit is resumed within one: here in the middle of the second."""
    name = "labels and patches by the epoch"
    expected = ended(fit(data, tmp_path / "whole", name))
    again = fit(data, tmp_path / "again", name, kept_at(tmp_path / "whole")[8])
    assert not differences(ended(again), expected)


@pytest.mark.filterwarnings("ignore:.*fork", "ignore:Found .* in eval mode")
@pytest.mark.parametrize("name", ["plain", *(pytest.param(name, marks=pytest.mark.slow) for name in SHARED)])
def test_two_processes_resume_as_one_does(data: Path, tmp_path: Path, name: str) -> None:
    def work(rank: int) -> list[dict[str, Any]]:
        expected = ended(fit(data, tmp_path / "whole", name, processes=2))
        kept = kept_at(tmp_path / "whole")[4]
        return [expected, ended(fit(data, tmp_path / "again", name, kept, processes=2))]

    (tmp_path / "whole").mkdir()
    for expected, found in in_processes(2, tmp_path, work):
        assert not differences(found, expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork")
def test_killed_at_twelve_steps(data: Path, tmp_path: Path) -> None:
    expected = ended(fit(data, tmp_path / "whole", "cutmix and rare values"))
    for step in random.Random(0).sample(range(1, 18), 12):
        folder = tmp_path / str(step)
        if (process := os.fork()) == 0:
            fit(data, folder, "cutmix and rare values", every=2, kill_at=step)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
        last = folder / "checkpoints" / "last.ckpt"
        # Before the first checkpoint there is nothing to go on from.
        resume = last if last.is_file() else None
        assert (resume is None) == (step < 2)
        assert not differences(ended(fit(data, folder / "again", "cutmix and rare values", resume)), expected), step


@pytest.mark.slow
def test_the_command_resumes_metrics_and_predictions_too(numclip: Numclip) -> None:
    words = ["--trainer.max_epochs=3", "--data.batch_size=4", "--checkpoint.every_n_train_steps=1"]
    keep = "--trainer.callbacks+=support.resuming.KeepEach"
    run = numclip("fit", *words, "--test_after_fit=true", keep)
    for checkpoint in random.Random(0).sample(kept_at(run), 3):
        config = ["--config", str(run / "config.yaml"), "--trainer.callbacks=null", "--test_after_fit=true"]
        again = numclip.plain("fit", *config, "--ckpt_path", str(checkpoint))
        assert not differences(end_of(again), end_of(run)), checkpoint.name
