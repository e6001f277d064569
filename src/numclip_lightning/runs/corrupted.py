"""A test on corrupted images: how much larger the error is than on clean ones."""

import csv
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from numclip_lightning.errors import ConfigError
from numclip_lightning.images.corruptions import KINDS, Corruption
from numclip_lightning.images.transforms import Normalization
from numclip_lightning.progress import watched
from numclip_lightning.runs.shares import of_all_processes
from numclip_lightning.runs.trainer import uses_whole_split

__all__ = ["CorruptedDataset", "TestCorrupted"]

_log = logging.getLogger(__name__)

Sample = dict[str, Tensor]


class CorruptedDataset(Dataset[Sample]):
    """Samples whose image is corrupted; what is random depends on the sample's index alone.

    Args:
        samples: The samples, whose `image` is normalised, (3, side, side).
        corruption: What is done to each, as an 8-bit image.
        normalization: Mean and deviation of the images.
    """

    def __init__(self, samples: Any, corruption: Corruption, normalization: Normalization) -> None:
        self._samples = samples
        self._corruption = corruption
        self._mean, self._std = (torch.tensor(numbers).view(3, 1, 1) for numbers in normalization)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        """Return one sample."""
        sample: Sample = self._samples[index]
        if not self._corruption.strength:
            return sample
        pixels = ((sample["image"] * self._std + self._mean) * 255).round().clamp(0, 255).byte()
        corrupted = self._corruption(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()), index)
        image = torch.from_numpy(corrupted).permute(2, 0, 1).float() / 255
        return {**sample, "image": (image - self._mean) / self._std}


class TestCorrupted(Callback):
    """Measures the error on corrupted test images after a test, and writes a table.

    `corruptions.csv` has a row for each kind and strength: images, mae and ratio (mae over that of clean images, which
    is the row `clean`). `test_corruption_ratio`, the mean ratio, is a metric of the test.

    Args:
        corruptions: What is done to the images, one after the other.
        path: The file for the table.
    """

    def __init__(self, corruptions: Sequence[Corruption], path: Path) -> None:
        self._corruptions = list(corruptions)
        self._path = path

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse a part of the test images, whose table would be read as that of all.

        Raises:
            ConfigError: If only some batches are tested.
        """
        if not uses_whole_split(trainer, "test"):
            raise ConfigError("--corrupt measures all test images; leave trainer.limit_test_batches out.")

    @torch.no_grad()
    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure, write the table, and print it."""
        reader, pl_module.reader = pl_module.reader, None  # type: ignore[assignment]
        clean, number = self._error(trainer, pl_module, Corruption(KINDS[0], 0))
        rows: list[tuple[str, int, int, float, float]] = [("clean", 0, number, clean, 1.0)]
        for corruption in watched(self._corruptions, len(self._corruptions), "corrupting images", "corruption"):
            error, _ = self._error(trainer, pl_module, corruption)
            ratio = error / clean if clean else float("nan")
            rows.append((corruption.kind, corruption.strength, number, error, ratio))
            _log.info("%s: MAE %.3f, %.2f times that of clean images", corruption, error, ratio)
        pl_module.reader = reader
        mean = float(np.mean([row[-1] for row in rows[1:]]))
        pl_module.log("test_corruption_ratio", torch.tensor(mean, dtype=torch.float32), sync_dist=True)
        if trainer.is_global_zero:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file)
                table.writerow(["kind", "strength", "images", "mae", "ratio"])
                table.writerows([*row[:3], f"{row[3]:.6g}", f"{row[4]:.6g}"] for row in rows)
            _log.info("corrupted images: %.2f times the error of clean ones on average; %s", mean, self._path)

    def _error(self, trainer: L.Trainer, method: Any, corruption: Corruption) -> tuple[float, int]:
        """Return the mean absolute error on all corrupted test images, and how many there are."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        samples = CorruptedDataset(data.cached_dataset("test"), corruption, data.normalization)
        share = Subset(samples, range(trainer.global_rank, len(samples), trainer.world_size))
        total = torch.zeros(2, dtype=torch.float64, device="cpu")
        loader = DataLoader(share, batch_size=data.batch_size, num_workers=data.num_workers)
        for number, batch in enumerate(watched(loader, len(loader), str(corruption), "batch")):
            moved = {name: tensor.to(method.device) for name, tensor in batch.items()}
            moved = trainer.precision_plugin.convert_input(moved)
            with trainer.precision_plugin.forward_context():
                value = method.predict_step(moved, number).value
            errors = (value.cpu().double() - batch["target"].double()).abs()
            total += torch.tensor([errors.sum().item(), len(errors)], dtype=torch.float64)
        total = torch.stack(of_all_processes(total, trainer)).sum(dim=0)
        return float(total[0] / total[1]), int(total[1])
