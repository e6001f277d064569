"""Compare training with fewer patches, on ages of the faces in ../shared and a small transformer; prints a table.

    python scripts/distil_transformer.py --output runs/face-transformer
    python scripts/compare_patch_dropout.py --backbone runs/face-transformer [--steps 400] [--seeds 3]

The embedded CLIP has no patches, and counts must not lose any. So a vision transformer of 64 patches first learns the
features of the faces' CLIP. Each way is tuned from it with the better of two rates for the tower, chosen on validation
images with a seed of its own. Seconds are of the processor, for a fit; "kept" is what a step keeps for its gradients.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple, cast

import lightning as L
import torch
import yaml
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.data import DataLoader

from numclip_lightning.data import ListDataModule
from numclip_lightning.methods import CosineClassifier, NumCLIP
from numclip_lightning.methods.base import OrdinalMethod

CONFIG = Path("configs/faces_mini.yaml")
BATCH, RATES, TUNING_SEED = 32, (1e-4, 1e-3), 100
NEW_PARTS: dict[type[OrdinalMethod], dict[str, float]] = {
    NumCLIP: dict.fromkeys(("adapter", "context", "phrases", "head"), 1e-3),
    CosineClassifier: {"head": 1e-1},
}


class Result(NamedTuple):
    """What one fit came to."""

    val_mae: float
    test_mae: float
    seconds: float
    kept: float


def main() -> None:
    """Tune, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", type=Path, required=True, help="the folder of distil_transformer.py")
    parser.add_argument("--steps", type=int, default=400, help=f"steps of {BATCH} images")
    parser.add_argument("--seeds", type=int, default=3, help="how many fits of each way")
    names = [kind.__name__ for kind in NEW_PARTS]
    parser.add_argument("--methods", nargs="+", choices=names, default=names, help="which methods")
    words = parser.parse_args()
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    data = ListDataModule(**config["data"]["init_args"], augment=False, num_workers=0)
    splits = {split: list(cast("Any", data.dataset(split))) for split in ("train", "val", "test")}
    epochs = words.steps // (len(splits["train"]) // BATCH)
    ways: dict[str, Any] = {
        "all": None,
        "half, at random": {"share": 0.5},
        "half, at random; all in the last third": {"share": 0.5, "until": max(1, epochs * 2 // 3)},
        "half, by attention": {"share": 0.5, "by": "attention"},
    }
    given = {
        "scale": config["model"]["init_args"]["scale"],
        "backbone": f"local-dir:{words.backbone}",
        "lr_scheduler": {"name": "OneCycleLR", "interval": "step"},
    }
    guess = statistics.median(float(sample["target"]) for sample in splits["train"])
    print(f"guessing: {statistics.mean(abs(float(sample['target']) - guess) for sample in splits['test']):.2f}\n")
    print("| method | patches | rate | test MAE | seconds | kept, MiB |")
    print(f"|{' --- |' * 6}")
    for kind in (kind for kind in NEW_PARTS if kind.__name__ in words.methods):
        for name, drops in ways.items():
            tried = {rate: fit(kind, given, drops, rate, TUNING_SEED, splits, words.steps) for rate in RATES}
            rate = min(tried, key=lambda rate: tried[rate].val_mae)
            found = [fit(kind, given, drops, rate, seed, splits, words.steps) for seed in range(words.seeds)]
            errors = [result.test_mae for result in found]
            spread = f" ± {statistics.stdev(errors):.2f}" if len(errors) > 1 else ""
            seconds = statistics.mean(result.seconds for result in found)
            print(f"| {kind.__name__} | {name} | {rate:g} | {statistics.mean(errors):.2f}{spread} | {seconds:.0f} | "
                  f"{found[0].kept:.1f} |", flush=True)  # fmt: skip


def fit(
    kind: type[OrdinalMethod], given: dict[str, Any], drops: Any, rate: float, seed: int, splits: dict[str, list[Any]],
    steps: int,
) -> Result:  # fmt: skip
    """Fit once."""
    L.seed_everything(seed, verbose=False)
    method = cast("Any", kind)(
        **given, learning_rates={"image_encoder": rate, **NEW_PARTS[kind]}, patch_dropout=drops, decode="median"
    )
    trainer = L.Trainer(max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
                        limit_val_batches=0)  # fmt: skip
    loader = DataLoader(cast("Any", splits["train"]), BATCH, shuffle=True, drop_last=True)
    start = time.process_time()
    trainer.fit(method, loader, loader)
    seconds = time.process_time() - start
    return Result(
        mae(method, splits["val"]), mae(method, splits["test"]), seconds, kept(method, splits["train"][:BATCH])
    )


def kept(method: OrdinalMethod, samples: list[Any]) -> float:
    """Return how much memory a step keeps for its gradients, in MiB; weights and images are not counted."""
    (batch,) = DataLoader(cast("Any", samples), len(samples))
    known = {tensor.untyped_storage().data_ptr() for tensor in (*method.parameters(), batch["image"])}
    found: dict[int, int] = {}

    def remember(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    method.train()
    with saved_tensors_hooks(remember, lambda tensor: tensor):
        logits = method(batch["image"]).logits
    sizes = [size for place, size in found.items() if place not in known]
    assert logits.requires_grad
    return sum(sizes) / 2**20


@torch.no_grad()
def mae(method: OrdinalMethod, samples: list[Any]) -> float:
    """Return the mean absolute error, in years."""
    method.eval()
    batches = DataLoader(cast("Any", samples), 100)
    return torch.cat([(method(batch["image"]).value - batch["target"]).abs() for batch in batches]).mean().item()


if __name__ == "__main__":
    main()
