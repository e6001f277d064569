"""Compare training with fewer patches, on ages of the faces in ../shared and a small transformer; prints a table.

    python scripts/compare_patch_dropout.py [--start 200] [--steps 100]

The embedded CLIP has no patches, and counts must not lose any. So a vision transformer of 64 patches is first trained
plainly on every other face; from these weights it is then tuned on the rest, with all patches, or a half. Seconds are
of the processor, for the steps alone; "kept" is what a step keeps for its gradients.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
import yaml
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.data import DataLoader

from numclip_lightning.data import ListDataModule
from numclip_lightning.methods import CosineClassifier

CONFIG = Path("configs/faces_mini.yaml")
TOWER = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "patch_size": 8, "layers": 4, "width": 128, "head_width": 32},
    "text_cfg": {"context_length": 8, "width": 32, "heads": 2, "layers": 1},
}
WAYS: dict[str, Any] = {
    "all": None,
    "half, at random": {"share": 0.5},
    "half, by attention": {"share": 0.5, "by": "attention"},
}
BATCH = 32


def main() -> None:
    """Train, tune, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=int, default=200, help="steps of 32 images before")
    parser.add_argument("--steps", type=int, default=100, help="steps of 32 images for each way")
    words = parser.parse_args()
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    data = ListDataModule(**config["data"]["init_args"], augment=False, num_workers=0)
    train, test = ([cast("Any", data.dataset(split))[i] for i in range(len(data.labels(split)))] for split in
                   ("train", "test"))  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "open_clip_config.json").write_text(json.dumps({"model_cfg": TOWER}), encoding="utf-8")
        given = {"scale": config["model"]["init_args"]["scale"], "backbone": f"local-dir:{folder}", "pretrained": None}
        start = build(given, None)
        fit(start, train[::2], words.start)
        print(f"before: test MAE {mae(start, test):.2f}\n", flush=True)
        print("| patches | test MAE | seconds | of all | kept, MiB |")
        print(f"|{' --- |' * 5}")
        whole = 0.0
        for name, drops in WAYS.items():
            method = build(given, drops)
            method.load_state_dict(start.state_dict())
            seconds = fit(method, train[1::2], words.steps)
            whole = whole or seconds
            print(f"| {name} | {mae(method, test):.2f} | {seconds:.0f} | {seconds / whole:.2f} | "
                  f"{kept(method, train[:BATCH]):.1f} |", flush=True)  # fmt: skip


def build(given: dict[str, Any], drops: dict[str, Any] | None) -> CosineClassifier:
    """Return a classifier over all ages, the same for every way."""
    L.seed_everything(0, verbose=False)
    rates = {"image_encoder": 5e-4, "head": 1e-2}
    schedule = {"name": "OneCycleLR", "interval": "step"}
    return CosineClassifier(
        **given, learning_rates=cast("Any", rates), lr_scheduler=cast("Any", schedule), patch_dropout=cast("Any", drops)
    )


def fit(method: CosineClassifier, samples: list[Any], steps: int) -> float:
    """Train; return the seconds of the processor."""
    L.seed_everything(0, verbose=False)
    trainer = L.Trainer(max_steps=steps, max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
                        limit_val_batches=0)  # fmt: skip
    loader = DataLoader(cast("Any", samples), BATCH, shuffle=True, drop_last=True)
    start = time.process_time()
    trainer.fit(method, loader, loader)
    return time.process_time() - start


def kept(method: CosineClassifier, samples: list[Any]) -> float:
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
def mae(method: CosineClassifier, samples: list[Any]) -> float:
    """Return the mean absolute error, in years."""
    method.eval()
    batches = DataLoader(cast("Any", samples), 100)
    return torch.cat([(method(batch["image"]).value - batch["target"]).abs() for batch in batches]).mean().item()


if __name__ == "__main__":
    main()
