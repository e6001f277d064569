"""Distil the image tower of a CLIP into a small vision transformer; the text tower is kept as it is.

    python scripts/distil_transformer.py --output runs/face-transformer [--steps 5000]

For what needs patches (patch dropout, maps of a transformer), where no transformer with weights is to be had. The
result is a folder that every command reads, by `--model.backbone=local-dir:runs/face-transformer`. It learns from the
training images of the faces alone, whose ages are not looked at.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader

from numclip_lightning.data import ListDataModule
from numclip_lightning.models import ImageTower, load_image_tower

CONFIG = Path("configs/faces_mini.yaml")
TEACHER = Path("../shared/models/face-mini-clip")
VISION = {"image_size": 64, "patch_size": 8, "layers": 3, "width": 96, "head_width": 32}
BATCH, RATE, DECAY, WARM_UP = 64, 1e-3, 0.05, 100


def main() -> None:
    """Distil, write the folder, and print how much of the teacher's features the student has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="a new folder for the model")
    parser.add_argument(
        "--teacher", type=Path, default=Path("../shared/models/face-mini-clip"), help="a model's folder"
    )
    parser.add_argument("--steps", type=int, default=5000, help=f"steps of {BATCH} images")
    words = parser.parse_args()
    torch.manual_seed(0)
    config = json.loads((words.teacher / "open_clip_config.json").read_text(encoding="utf-8"))
    config["model_cfg"]["vision_cfg"] = VISION
    words.output.mkdir(parents=True, exist_ok=False)
    (words.output / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    teacher = load_image_tower(f"local-dir:{words.teacher}").eval()
    student = load_image_tower(f"local-dir:{words.output}", pretrained=None)
    given = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["data"]["init_args"]
    data = ListDataModule(**{**given, "num_workers": 0, "check_images": "none"})
    distil(teacher, student, cast("Any", data.dataset("train")), words.steps)
    kept = {name: tensor for name, tensor in load_file(words.teacher / "open_clip_model.safetensors").items()
            if not name.startswith("visual.")}  # fmt: skip
    learned = {f"visual.{name}": tensor.contiguous() for name, tensor in student.visual.state_dict().items()}
    save_file({**kept, **learned}, words.output / "open_clip_model.safetensors")
    with torch.no_grad():
        images = torch.cat([batch["image"] for batch in DataLoader(cast("Any", data.dataset("val")), BATCH)])
        left = unexplained(student.eval().encode_image(images), teacher.encode_image(images)).item()
    print(f"{len(images)} validation images: {1 - left:.1%} of the variance of the teacher's features is explained")


def distil(teacher: ImageTower, student: ImageTower, images: Any, steps: int) -> None:
    """Train the student's features to be the teacher's."""
    optimiser = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=min(0.3, WARM_UP / steps))
    start, step = time.perf_counter(), 0
    student.train()
    while True:
        for batch in DataLoader(images, BATCH, shuffle=True, drop_last=True):
            with torch.no_grad():
                wanted = teacher.encode_image(batch["image"])
            loss = unexplained(student.encode_image(batch["image"]), wanted)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            step += 1
            if step % 100 == 0:
                seconds = time.perf_counter() - start
                print(f"step {step} of {steps}: {loss.item():.3f} unexplained, {seconds:.0f} s", flush=True)
            if step == steps:
                return


def unexplained(features: Tensor, wanted: Tensor) -> Tensor:
    """Return the share of the variance of normalised features (B, D) that others (B, D) leave unexplained."""
    features, wanted = F.normalize(features, dim=-1), F.normalize(wanted, dim=-1)
    return (features - wanted).square().sum() / (wanted - wanted.mean(dim=0)).square().sum()


if __name__ == "__main__":
    main()
