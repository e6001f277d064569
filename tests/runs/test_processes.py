"""Several processes: they measure what one does, end when one of them does, and check images once."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

from numclip_lightning.data import ListDataModule
from numclip_lightning.data.base import files
from numclip_lightning.data.base.checking import check_images
from numclip_lightning.methods import SORD
from numclip_lightning.runs.checkpoints import BestCheckpoint
from numclip_lightning.runs.exact import ExactResume
from numclip_lightning.runs.trainer import Trainer
from numclip_lightning.scale import OrdinalScale
from support.command import make_data
from support.processes import in_processes

pytestmark = pytest.mark.filterwarnings("ignore:.*fork", "ignore:Using `DistributedSampler`")

SCALE = OrdinalScale(minimum=10, maximum=19, levels=[{"phrase": "few", "start": 10}, {"phrase": "many", "start": 15}])


class Scores(Callback):
    """Keeps the validation metrics of each epoch."""

    def __init__(self) -> None:
        self.found: list[dict[str, float]] = []

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.found.append({name: float(v) for name, v in trainer.callback_metrics.items() if "loss" not in name})


class KillSecond(Callback):
    """Kills one process of several, as a system without memory does."""

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_rank == 1 and trainer.global_step == 2:
            os.kill(os.getpid(), signal.SIGKILL)


def fit(data: Path, folder: Path, processes: int, *callbacks: Callback) -> L.Trainer:
    """Fit in double precision, so that the order of sums does not show, until the score no longer falls."""
    L.seed_everything(0, verbose=False)
    method = SORD(
        scale=SCALE, backbone="tiny-vit", pretrained=None, lr_scheduler=None, gather=True,
        learning_rates={"image_encoder": 0.003, "head": 0.01},
    )  # fmt: skip
    module = ListDataModule(
        root=str(data), train_file="train.txt", val_file="val.txt", test_file="test.txt", image_size=32,
        batch_size=12 // processes, num_workers=0,
    )  # fmt: skip
    best = BestCheckpoint(
        dirpath=folder, filename="best", monitor="val_mae", save_last=True, enable_version_counter=False
    )
    trainer = Trainer(
        accelerator="cpu", devices=processes, precision="64-true", logger=False, enable_progress_bar=False,
        enable_model_summary=False, max_epochs=8, num_sanity_val_steps=0,
        callbacks=[ExactResume(), *callbacks, EarlyStopping("val_mae", patience=1), best],
    )  # fmt: skip
    trainer.fit(method, module)
    return trainer


def outcome(data: Path, folder: Path, processes: int) -> dict[str, Any]:
    scores = Scores()
    trainer = fit(data, folder, processes, scores)
    best: Any = trainer.checkpoint_callbacks[0]
    weights = torch.load(best.best_model_path, weights_only=True)
    trainer.test(trainer.lightning_module, datamodule=trainer.datamodule, verbose=False)  # type: ignore[attr-defined]
    return {
        "scores": scores.found,
        "epochs": trainer.current_epoch,
        "best epoch": weights["epoch"],
        "best": float(best.best_model_score),
        "weights": weights["state_dict"],
        "test": {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test_")},
    }


# 24 training images are divided by all; 11 and 17 by none.
@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_they_choose_and_stop_as_one_does(tmp_path: Path, processes: int) -> None:
    data = make_data(tmp_path / "data", train=24, val=11, test=17)
    expected = outcome(data, tmp_path / "one", 1)
    found = in_processes(processes, tmp_path, lambda _: outcome(data, tmp_path / "several", processes))
    for one in found:
        for name in ("epochs", "best epoch"):
            assert one[name] == expected[name]
        assert one["best"] == pytest.approx(expected["best"], abs=1e-6)
        assert one["test"] == pytest.approx(expected["test"], abs=1e-6)
        for mine, theirs in zip(one["scores"], expected["scores"], strict=True):
            assert mine == pytest.approx(theirs, abs=1e-6)
        for name, weight in expected["weights"].items():
            torch.testing.assert_close(one["weights"][name], weight, atol=1e-6, rtol=0, msg=name)


def test_all_end_when_one_is_killed(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", train=24, val=11, test=17)
    began = time.monotonic()
    with pytest.raises(AssertionError, match=r"(?i)connection|peer|reset"):
        in_processes(2, tmp_path, lambda _: fit(data, tmp_path / "killed", 2, KillSecond()))
    assert time.monotonic() - began < 60


def test_images_are_checked_once_and_all_hear_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_data(tmp_path / "data", train=24, val=11, test=17)
    (data / "train_003.png").write_bytes(b"")
    checked: list[int] = []

    def counted(*given: Any, **options: Any) -> None:
        checked.append(1)
        check_images(*given, **options)

    monkeypatch.setattr(files, "check_images", counted)

    def work(rank: int) -> list[Any]:
        try:
            fit(data, tmp_path / "bad", 2)
        except Exception as error:  # noqa: BLE001  # whatever it is, the test sees it
            return [len(checked), str(error)]
        return [len(checked), ""]

    (first, message), (second, same) = in_processes(2, tmp_path, work)
    assert (first, second) == (1, 0)
    assert "train_003.png: unreadable: the file is empty" in message
    assert same == message
