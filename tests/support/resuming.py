"""Fits that are killed, and resumed from what is on the disk: what they end with, to the last bit."""

import shutil
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from support.command import metrics_of, rows_of

# What names a place or a moment.
_OF_THE_RUN = ("best_checkpoint",)


class KeepEach(Callback):
    """Keeps what a kill after each step would leave: a copy of the last checkpoint, before the next step."""

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        for callback in trainer.checkpoint_callbacks:
            last = Path(str(callback.dirpath), "last.ckpt")  # type: ignore[attr-defined]
            if last.is_file():
                shutil.copy(last, last.with_name(f"at-{trainer.global_step:03d}.ckpt"))


def kept_at(run: Path) -> list[Path]:
    """Return the copies that `KeepEach` has made, by step."""
    return sorted((run / "checkpoints").glob("at-*.ckpt"))


def end_of(run: Path) -> dict[str, Any]:
    """Return all that a fit ends with: weights, optimiser, schedule, averages, metrics and predictions."""
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    found = {key: last[key] for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")}
    metrics = {key: value for key, value in metrics_of(run).items() if key not in _OF_THE_RUN}
    best = torch.load(metrics_of(run)["best_checkpoint"], weights_only=True)["state_dict"]
    predictions = run / "test_predictions.csv"
    return {
        **found,
        "averaging": last.get("averaging"),
        "best": best,
        "metrics": metrics,
        "test": rows_of(predictions) if predictions.is_file() else None,
        "last epoch": [row for row in rows_of(run / "metrics.csv") if row.get("train_loss")][-1],
    }


def differences(found: Any, expected: Any, where: str = "") -> list[str]:
    """Return where two nested structures differ, bit for bit."""
    if isinstance(expected, torch.Tensor):
        same = isinstance(found, torch.Tensor) and found.dtype == expected.dtype and torch.equal(found, expected)
        return [] if same else [where]
    if isinstance(expected, dict) and isinstance(found, dict):
        missing = [f"{where}.{key}" for key in expected.keys() ^ found.keys()]
        both = [key for key in expected if key in found]
        return missing + [text for key in both for text in differences(found[key], expected[key], f"{where}.{key}")]
    if isinstance(expected, list | tuple) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        return [text for i, (one, other) in pairs for text in differences(one, other, f"{where}[{i}]")]
    return [] if found == expected or (found != found and expected != expected) else [f"{where}: {found} {expected}"]
