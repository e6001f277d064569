"""Compare the ways to tune an image tower, on the counting task and the CLIP in the package; prints a Markdown table.

    python scripts/compare_tuning.py [--images 1000] [--steps 100] [--methods CosineClassifier] [--modes full last_n]

Each way has the best of three rates for its tower, chosen on validation images; the seconds are those of that one fit.
"Memory" is what training holds besides activations: weights, gradients and the state of the optimiser. "Merged" is the
largest difference between values of the fit and of a plain tower with merged weights, in the target's unit.
"""

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple, cast

import lightning as L
import torch
import yaml
from torch import Tensor, nn
from torch.utils.data import DataLoader

from numclip_lightning.data.counting import CountingDataModule
from numclip_lightning.methods import CosineClassifier, NumCLIP
from numclip_lightning.methods.base import OrdinalMethod
from numclip_lightning.models.tuning import merged

RATES = (1e-4, 1e-3, 1e-2)
MODES = ("full", "svd", "lora", "last_n")
NEW_PARTS = {
    NumCLIP: dict.fromkeys(("adapter", "context", "phrases", "head"), 1e-3),
    CosineClassifier: {"head": 1e-2},
}
CONFIG = Path("configs/counting.yaml")


class Result(NamedTuple):
    """What one fit came to."""

    rate: float
    val_mae: float
    test_mae: float
    seconds: float
    trained: int
    mebibytes: float
    merged: float


def main() -> None:
    """Fit, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="training images; half as many validate, all test")
    parser.add_argument("--steps", type=int, default=100, help="optimiser steps of 32 images")
    names = [kind.__name__ for kind in NEW_PARTS]
    parser.add_argument("--methods", nargs="+", choices=names, default=names, help="which methods")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, help="which ways to tune")
    words = parser.parse_args()
    scale = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["model"]["init_args"]["scale"]
    data = CountingDataModule(
        num_train=words.images, num_val=words.images // 2, num_test=words.images, augment=False, num_workers=0
    )
    splits = {split: list(cast("Any", data.dataset(split))) for split in ("train", "val", "test")}
    print("| method | tune | rate | trained numbers | test MAE | seconds | memory, MiB | merged |")
    print(f"|{' --- |' * 8}")
    for kind in (kind for kind in NEW_PARTS if kind.__name__ in words.methods):
        for mode in words.modes:
            found = [fit(kind, mode, rate, scale, splits, words.steps) for rate in RATES]
            best = min(found, key=lambda result: result.val_mae)
            print(f"| {kind.__name__} | {mode} | {best.rate:g} | {best.trained:,} | {best.test_mae:.2f} | "
                  f"{best.seconds:.0f} | {best.mebibytes:.1f} | {best.merged:.1e} |", flush=True)  # fmt: skip


def fit(
    kind: type[OrdinalMethod], mode: str, rate: float, scale: dict[str, Any], splits: dict[str, list[Any]], steps: int
) -> Result:
    """Fit once with a rate for the tower."""
    L.seed_everything(0, verbose=False)
    given: dict[str, Any] = {
        "scale": scale, "backbone": "mini", "pretrained": "auto", "tune": mode,
        "learning_rates": {"image_encoder": rate, **NEW_PARTS[kind]},
        "lr_scheduler": {"name": "OneCycleLR", "interval": "step"},
    }  # fmt: skip
    method, plain = kind(**given), kind(**given)
    trainer = L.Trainer(max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
                        limit_val_batches=0)  # fmt: skip
    loaders: dict[str, Any] = {
        split: DataLoader(cast("Any", samples), 32, shuffle=split == "train") for split, samples in splits.items()
    }
    start = time.process_time()
    trainer.fit(method, loaders["train"], loaders["val"])
    seconds = time.process_time() - start
    held = [*method.parameters(), *(p.grad for p in method.parameters() if p.grad is not None)]
    held += [value for state in trainer.optimizers[0].state.values() for value in state.values()
             if isinstance(value, Tensor)]  # fmt: skip
    plain.load_state_dict(merged(method.state_dict()))
    (val, _), (test, difference) = (measure(method, plain, loaders[split]) for split in ("val", "test"))
    trained = sum(p.numel() for p in method.clip.parameters() if p.requires_grad)
    return Result(rate, val, test, seconds, trained, sum(t.nbytes for t in held) / 2**20, difference)


@torch.no_grad()
def measure(method: OrdinalMethod, plain: nn.Module, batches: DataLoader[Any]) -> tuple[float, float]:
    """Return the mean absolute error, and the largest difference of values to the plain tower."""
    method.eval()
    plain.eval()
    errors, differences = [], []
    for batch in batches:
        value = method(batch["image"]).value
        errors.append((value - batch["target"]).abs())
        differences.append((value - plain(batch["image"]).value).abs().max())
    return torch.cat(errors).mean().item(), torch.stack(differences).max().item()


if __name__ == "__main__":
    main()
