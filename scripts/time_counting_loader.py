"""Measure which part of a training run on generated scenes is spent on the scenes.

python scripts/time_counting_loader.py
"""

import time

import torch

from numclip_lightning.data.counting import CountingDataModule
from numclip_lightning.models import load_clip


def main() -> None:
    """Print the time for drawing and for loading a scene, as shares of the time for training on it once."""
    torch.set_num_threads(1)
    data = CountingDataModule(num_train=3000, batch_size=64)
    start = time.perf_counter()
    loader = data.train_dataloader()
    drawn = time.perf_counter()
    batches = list(loader)
    loaded = time.perf_counter()
    clip = load_clip("mini", None).train()
    trained = time.perf_counter()
    for batch in batches[:20]:
        clip.encode_image(batch["image"]).square().mean().backward()  # type: ignore[no-untyped-call]
    training = (time.perf_counter() - trained) / (20 * 64)
    print(f"drawing, once a run: {(drawn - start) / 3000 / training:.2f} of a training step of the image tower")
    print(f"loading, every epoch: {(loaded - drawn) / 3000 / training:.2f} of it")


if __name__ == "__main__":
    main()
