"""Images of noise whose brightness and tint follow the target, for methods that are solved from features."""

import math
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.methods import OrdinalMethod
from numclip_lightning.methods.base import PromptedMethod
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import quiet_trainer

register_tiny_clips()

TARGETS = [float(value) for value in range(7)] * 3


class Patches(OrdinalDataModule):
    """Images of noise, whose brightness and tint follow the target."""

    def __init__(self, targets: list[float], val: list[float] | None = None, **arguments: Any) -> None:
        self.targets = {"train": targets, "val": targets if val is None else val, "test": targets}
        super().__init__(**{"batch_size": 4, "num_workers": 0, "image_size": 32, "augment": False, **arguments})

    def labels(self, split: Any) -> LabelTable:
        return LabelTable(Label(str(i), (t,), None, i + 1, "made") for i, t in enumerate(self.targets[split]))  # type: ignore[arg-type]

    def dataset(self, split: Any) -> Dataset[dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(0)
        return [  # type: ignore[return-value]
            {"image": picture(target, generator), "target": torch.tensor(target), "index": torch.tensor(index)}
            for index, target in enumerate(self.targets[split])
        ]


def picture(target: float, generator: torch.Generator) -> Tensor:
    noise = torch.randn(3, 32, 32, generator=generator) * 0.05
    ramp = torch.linspace(-1, 1, 32) * math.cos(target) + torch.linspace(-1, 1, 32)[:, None] * math.sin(target)
    whole: Tensor = noise + ramp + (target - 3) / 3
    return whole


def trainer(**arguments: Any) -> L.Trainer:
    return quiet_trainer(**{"max_epochs": 1, **arguments})


def fitted(method: OrdinalMethod, data: OrdinalDataModule, **arguments: Any) -> dict[str, float]:
    runner = trainer(**arguments)
    runner.fit(method, datamodule=data)
    return {name: value.item() for name, value in runner.callback_metrics.items()}


@torch.no_grad()
def features(method: OrdinalMethod, data: Patches, split: str = "train") -> Tensor:
    """Features of length one of a split, float64."""
    images = torch.stack([sample["image"] for sample in data.dataset(split)])  # type: ignore[attr-defined]
    return F.normalize(method.encode_images(images).double(), dim=1)


@torch.no_grad()
def zero_shot_logits(method: PromptedMethod[Any], x: Tensor, words: list[str]) -> Tensor:
    texts = method.clip.encode_text([f"{word} dots" for word in words]).double()
    multiplier: Tensor = method.clip.logit_multiplier.double()
    return multiplier * x @ F.normalize(texts, dim=1).T
