"""A fit of a second: one tiny scale, images whose brightness is the target, and a quiet trainer."""

from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from numclip_lightning import methods
from numclip_lightning.methods import OrdinalMethod
from numclip_lightning.methods.base import UntrainedMethod
from support.scales import DOTS

SCALE = DOTS
TINY: dict[str, Any] = {"scale": SCALE, "backbone": "tiny-vit", "pretrained": None}
TARGETS = [0.0, 2.0, 4.0, 6.0]
# Methods that learn from images.
LEARNING = [
    kind
    for kind in (getattr(methods, name) for name in methods.__all__)
    if isinstance(kind, type) and issubclass(kind, OrdinalMethod)
    and kind not in (OrdinalMethod, methods.ZeroShotCLIP)
]  # fmt: skip
# Of these, methods that steps of an optimiser train on images.
TRAINED = [kind for kind in LEARNING if not issubclass(kind, UntrainedMethod) and kind is not methods.TipAdapterF]


def bright(targets: list[float], low: float = 0, high: float = 6, noise: float = 0.1) -> list[dict[str, Tensor]]:
    """Samples of 32 x 32 pixels, from dark (low) to bright (high) with some noise."""
    generator = torch.Generator().manual_seed(0)
    middle, reach = (low + high) / 2, (high - low) / 2
    return [
        {
            "image": torch.randn(3, 32, 32, generator=generator) * noise + (target - middle) / reach,
            "target": torch.tensor(target),
            "index": torch.tensor(index),
        }
        for index, target in enumerate(targets)
    ]


def images_of(method: OrdinalMethod, targets: list[float]) -> list[dict[str, Tensor]]:
    """Samples whose brightness spans the scale of a method."""
    return bright(targets, method.scale.minimum, method.scale.maximum)


def loader(samples: list[dict[str, Tensor]], batch_size: int = 4) -> DataLoader[dict[str, Tensor]]:
    """Batches in order."""
    return DataLoader(samples, batch_size=batch_size)  # type: ignore[arg-type]


def batch_of(method: OrdinalMethod, targets: list[float]) -> dict[str, Tensor]:
    """All of them in one batch, as a step of the method sees it."""
    (batch,) = loader(images_of(method, targets), len(targets))
    return method.on_before_batch_transfer(batch, 0)


def quiet_trainer(**arguments: Any) -> L.Trainer:
    """A trainer on one CPU that writes nothing."""
    return L.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **arguments,
    )  # fmt: skip


def mae_of(method: OrdinalMethod, targets: list[float]) -> float:
    """The mean absolute error that a test finds."""
    runner = quiet_trainer()
    runner.test(method, loader(images_of(method, targets)), verbose=False)
    return runner.callback_metrics["test_mae"].item()


def without_gradient(method: OrdinalMethod) -> list[str]:
    """The trained parameters that no loss has reached."""
    return [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None]
