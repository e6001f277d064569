"""Pre-train the small CLIP that comes with the package, on generated scenes and captions without numbers.

    python scripts/pretrain_mini.py [--output src/numclip_lightning/models/mini] [--threads 1]

All randomness follows from the seed and the number of the step, so that a run that was stopped continues with the same
result. Its state is written to `runs/mini/` about every two minutes, and removed at the end.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss
from safetensors.torch import save_file
from torch import Tensor, nn

from measure_mini import scenes, zero_shot
from numclip_lightning.data.counting.captions import caption
from numclip_lightning.data.counting.datamodule import normalise, turn_and_flip
from numclip_lightning.data.counting.scenes import SIDE, Facts, draw_counts, make_scenes, paint
from numclip_lightning.models import CLIPBackbone, load_clip

CONFIG = {
    "model_cfg": {
        "embed_dim": 64,
        "vision_cfg": {"image_size": SIDE, "layers": [1, 2, 2, 1], "width": 12, "head_width": 16},
        "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2},
    },
    "preprocess_cfg": {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)},
}
BATCH, RATE, DECAY, WARM_UP = 96, 4e-3, 0.05, 100
SCENES, STEPS = 60_000, 7_000
SAVE_EVERY = 500
FRESH_SEED = 987


class Scenes:
    """Generated scenes of the pre-training stream; no datamodule contains any of them.

    Args:
        seed: Seed of the scenes.
        number: How many.
    """

    def __init__(self, seed: int, number: int) -> None:
        self.seed = seed
        self.pixels = torch.empty((number, SIDE, SIDE, 3), dtype=torch.uint8)
        self.facts: list[Facts] = []
        counts = draw_counts(seed, "pretrain", number).tolist()
        for index, scene in enumerate(make_scenes(seed, "pretrain", range(number), counts)):
            self.pixels[index] = torch.from_numpy(paint(scene))
            self.facts.append(scene.facts)

    def batch(self, step: int) -> tuple[Tensor, list[str]]:
        """The images (B, 3, SIDE, SIDE) of a step, turned and mirrored at random, with a caption each."""
        epoch, part = divmod(step, len(self.facts) // BATCH)
        order = torch.randperm(len(self.facts), generator=torch.Generator().manual_seed(self.seed + epoch))
        chosen = order[part * BATCH : (part + 1) * BATCH]
        rng = random.Random(f"{self.seed} {step}")
        images = turn_and_flip(normalise(self.pixels[chosen]), rng.randrange(8))
        return images.contiguous(), [caption(self.facts[index], rng) for index in chosen.tolist()]


class Pretraining:
    """A model, its optimiser and the number of steps done.

    Args:
        folder: Holds the model's `open_clip_config.json`.
        steps: How many steps in all.
        state: Where to keep the state between runs.
    """

    def __init__(self, folder: Path, steps: int, state: Path) -> None:
        self.model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
        self.clip = CLIPBackbone(self.model, tokenizer, "mini")  # the same weights; reads no padding
        self.steps, self.state, self.step = steps, state, 0
        self.optimizer = torch.optim.AdamW(_groups(self.model), lr=RATE, betas=(0.9, 0.98))
        self.loss = ClipLoss()
        if state.is_file():
            saved = torch.load(state)
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step = saved["step"]
            print(f"continuing from step {self.step}, found in {state}")

    def run(self, data: Scenes) -> None:
        """Train to the last step, and print the progress from time to time."""
        look = scenes(FRESH_SEED + 1, 1000)
        start, first = time.perf_counter(), self.step
        while self.step < self.steps:
            self.model.train()
            loss = self.train_step(*data.batch(self.step))
            if self.step % SAVE_EVERY == 0:
                self.save()
                speed = BATCH * (self.step - first) / (time.perf_counter() - start)
                accuracy = zero_shot(self.clip, *look)["accuracy"]
                print(f"step {self.step} of {self.steps}: loss {loss:.3f}, accuracy {accuracy:.3f}, "
                      f"{speed:.0f} images a second", flush=True)  # fmt: skip

    def train_step(self, images: Tensor, captions: list[str]) -> float:
        """Take one step and return its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = (
                RATE * min(1, (self.step + 1) / WARM_UP) * (1 + math.cos(math.pi * self.step / self.steps)) / 2
            )
        loss: Tensor = self.loss(
            F.normalize(self.clip.encode_image(images), dim=-1),
            F.normalize(self.clip.encode_text(captions), dim=-1),
            self.clip.logit_multiplier,
        )
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1
        return loss.item()

    def save(self) -> None:
        """Keep the state, so that a run that is stopped can go on."""
        self.state.parent.mkdir(parents=True, exist_ok=True)
        new = self.state.with_suffix(".new")
        torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}, new)
        new.replace(self.state)


def _groups(model: nn.Module) -> list[dict[str, object]]:
    """Return groups with weight decay for matrices only; embeddings have none, so that unused words stay random."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (decayed if parameter.ndim > 1 and "embedding" not in name else plain).append(parameter)
    return [{"params": decayed, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]


def main() -> None:
    """Pre-train, write the weights in half precision, read them back and measure them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=Path("src/numclip_lightning/models/mini"))
    parser.add_argument("--states", type=Path, default=Path("runs/mini"), help="folder of the state to continue from")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="more threads are faster, but sum in another order")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    start = time.perf_counter()
    options.output.mkdir(parents=True, exist_ok=True)
    config = json.dumps(CONFIG, indent=2) + "\n"
    (options.output / "open_clip_config.json").write_text(config, encoding="utf-8")
    state = options.states / f"seed-{options.seed}-scenes-{options.scenes}-steps-{options.steps}.pt"
    pretraining = Pretraining(options.output, options.steps, state)
    data = Scenes(options.seed, options.scenes)
    print(f"{options.scenes} scenes drawn in {time.perf_counter() - start:.0f} s", flush=True)
    pretraining.run(data)
    weights = {name: tensor.half().contiguous() for name, tensor in pretraining.model.state_dict().items()}
    save_file(weights, options.output / "open_clip_model.safetensors")
    state.unlink(missing_ok=True)
    print(f"done after {(time.perf_counter() - start) / 60:.1f} minutes; on fresh scenes:")
    for name, figure in zero_shot(load_clip(f"local-dir:{options.output}"), *scenes(FRESH_SEED, 4000)).items():
        print(f"{figure:7.3f}  {name}")


if __name__ == "__main__":
    main()
