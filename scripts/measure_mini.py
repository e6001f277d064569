"""Measure a small CLIP on new scenes without training it, and how well ink and brightness alone predict the count.

python scripts/measure_mini.py [--backbone mini] [--seed 987]
"""

import argparse
import time

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from torch import Tensor

from numclip_lightning.data.counting import CountingDataModule
from numclip_lightning.data.counting.captions import level_of, phrases
from numclip_lightning.data.counting.datamodule import draw, normalise
from numclip_lightning.data.counting.scenes import LARGEST
from numclip_lightning.models import CLIPBackbone, load_clip

TEMPLATES = ("a picture of {}.", "there are {}.", "{}.", "an image showing {}.")
"""The first is the one of configs/counting.yaml; the numbers are tried in all of them."""


def scenes(seed: int, number: int) -> tuple[Tensor, Tensor]:
    """Draw test scenes: pixels (N, 64, 64, 3), 8-bit RGB, and counts (N,) int64."""
    labels = CountingDataModule(seed=seed, num_test=number).labels("test")
    return draw(seed, "test", labels), torch.tensor(labels.targets).long()


@torch.inference_mode()
def zero_shot(clip: CLIPBackbone, pixels: Tensor, counts: Tensor) -> dict[str, float]:
    """Measure a model on scenes: accuracy over the phrases, and the error of its best number of 1 to 60."""
    clip.eval()
    images = F.normalize(torch.cat([clip.encode_image(normalise(part)) for part in torch.split(pixels, 200)]), dim=-1)

    def best(texts: list[str]) -> Tensor:
        return (images @ F.normalize(clip.encode_text(texts), dim=-1).T).argmax(dim=1)

    levels = torch.tensor([level_of(count) for count in counts.tolist()])
    off = (best([TEMPLATES[0].format(phrase) for phrase in phrases()]) - levels).abs()
    figures = {"accuracy": (off == 0).float().mean().item(), "within one": (off <= 1).float().mean().item()}
    for level, phrase in enumerate(phrases()):
        figures[f"accuracy of '{phrase}'"] = (off[levels == level] == 0).float().mean().item()
    for template in TEMPLATES:
        numbers = [template.format(f"{n} things" if n > 1 else "1 thing") for n in range(1, LARGEST + 1)]
        figures[f"MAE of '{template.format('N things')}'"] = (best(numbers) + 1 - counts).abs().float().mean().item()
    figures["MAE of the median"] = (counts - counts.median()).abs().float().mean().item()
    return figures


def ink_and_brightness(pixels: Tensor) -> npt.NDArray[np.float32]:
    """What can be read without seeing things: mean and spread of each channel and of grey, and three kinds of ink.

    Ink is how far pixels are from the commonest colour (the median): on average, its spread, and the share of pixels
    that are farther off than the grain.
    """
    colour = pixels.numpy().astype(np.float32)
    grey = colour.mean(axis=3)
    median = np.median(colour.reshape(len(colour), -1, 3), axis=1)
    ink = np.abs(colour - median[:, None, None]).max(axis=3)
    parts = [
        colour.mean(axis=(1, 2)), colour.std(axis=(1, 2)),
        *(part[:, None] for part in (grey.mean(axis=(1, 2)), grey.std(axis=(1, 2)), ink.mean(axis=(1, 2)))),
        ink.std(axis=(1, 2))[:, None], (ink > 40).mean(axis=(1, 2))[:, None],
    ]  # fmt: skip
    return np.concatenate(parts, axis=1)


def control(pixels: Tensor, counts: Tensor) -> dict[str, float]:
    """Fit the count on ink and brightness with two thirds of the scenes, and measure the error on the rest."""
    features, target = ink_and_brightness(pixels), counts.numpy()
    cut = len(target) * 2 // 3
    models = {
        "linear": LinearRegression(),
        "boosted trees": HistGradientBoostingRegressor(loss="absolute_error", random_state=0),
    }
    errors = {"median": float(np.abs(target[cut:] - np.median(target[:cut])).mean())}
    for name, model in models.items():
        guess = model.fit(features[:cut], target[:cut]).predict(features[cut:])
        errors[name] = float(np.abs(guess - target[cut:]).mean())
    return errors


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="mini", help="mini, or local-dir:PATH")
    parser.add_argument("--seed", type=int, default=987, help="seed of the scenes")
    parser.add_argument("--scenes", type=int, default=6000, help="how many")
    options = parser.parse_args()
    start = time.perf_counter()
    pixels, counts = scenes(options.seed, options.scenes)
    print(f"{options.scenes / (time.perf_counter() - start):.0f} scenes drawn a second")
    for name, figure in zero_shot(load_clip(options.backbone), pixels, counts).items():
        print(f"{figure:7.3f}  {name}")
    for name, figure in control(pixels, counts).items():
        print(f"{figure:7.3f}  MAE of {name} on ink and brightness" if name != "median" else f"{figure:7.3f}  median")


if __name__ == "__main__":
    main()
