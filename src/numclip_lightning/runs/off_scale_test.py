"""Testing a score on images that are known not to be on the scale."""

import logging
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, Subset

from numclip_lightning.data.base.checking import CheckImages, check_images
from numclip_lightning.data.base.dataset import OrdinalDataset
from numclip_lightning.methods.base.types import Prediction
from numclip_lightning.metrics.separation import separation
from numclip_lightning.progress import watched
from numclip_lightning.runs.on_scale import OnScale
from numclip_lightning.runs.rows import Layout, RowsFile, columns, rows_of, shares_of
from numclip_lightning.runs.shares import of_all_processes
from numclip_lightning.runs.trainer import uses_whole_split

__all__ = ["TestOffScale"]

_log = logging.getLogger(__name__)


class TestOffScale(Callback):
    """Predicts the images of `data.off_scale_file` after a test, and says how well their scores tell them apart.

    Their rows go to a file of their own, in the columns of `predictions.csv`. The AUROC and the false positives at 95 %
    recall are metrics of the test, with the ends of their intervals; a report computes them again from both files.

    Args:
        on_scale: What reads the scores.
        path: The file for the rows.
    """

    def __init__(self, on_scale: OnScale, path: Path) -> None:
        self._on_scale = on_scale
        self._path = path
        self._images: OrdinalDataset | None = None
        self._scores: dict[int, float] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Check the images before anything is computed.

        Raises:
            DataError: If the list or an image is bad.
        """
        data: Any = getattr(trainer, "datamodule", None)
        if stage == "test" and data is not None:
            self._images, self._scores = data.off_scale(), {}
            if self._images:
                how: CheckImages = getattr(data, "check_images", "full")
                check_images(self._images.labels, self._images.root, how, self._images.reading, can_skip=False)

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the scores of the images on the scale."""
        if self._images:
            found = Prediction(**outputs)
            self._scores.update(zip(found.index.tolist(), found.read[:, 0].tolist(), strict=True))

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Predict the images that are not, write their rows, and measure."""
        if not self._images:
            return
        own = [Prediction(*part) for part in self._predicted(trainer, pl_module)]
        gathered = of_all_processes((self._scores, own), trainer)
        known = {index: score for scores, _ in gathered for index, score in scores.items()}
        parts = [part for _, theirs in gathered for part in theirs]
        if trainer.is_global_zero:
            self._write(pl_module, parts)
        off = torch.cat([part.read[:, 0] for part in parts]).tolist()
        labels = trainer.datamodule.labels("test")  # type: ignore[attr-defined]
        groups = [labels[index].group for index in known]
        found = separation(list(known.values()), off, groups=None if None in groups else groups)
        numbers = {
            "auroc": found.auroc, "auroc_low": found.auroc_low, "auroc_high": found.auroc_high,
            "fpr95": found.false_positives, "fpr95_low": found.false_positives_low,
            "fpr95_high": found.false_positives_high,
        }  # fmt: skip
        for name, value in numbers.items():
            pl_module.log(f"test_off_scale_{name}", torch.tensor(value, dtype=torch.float32), sync_dist=True)
        part = "" if uses_whole_split(trainer, "test") else " of those tried"
        _log.info(
            "off the scale: %d images are told from %d%s by %s with %s; their rows are in %s",
            found.off, found.on, part, self._on_scale.score, found, self._path,
        )  # fmt: skip

    @torch.no_grad()
    def _predicted(self, trainer: L.Trainer, method: Any) -> list[Prediction]:
        """Return the predictions of this process's share, in main memory."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        images: Any = self._images
        share = Subset(images, range(trainer.global_rank, len(images), trainer.world_size))
        found = []
        loader = DataLoader(share, batch_size=data.batch_size, num_workers=data.num_workers)
        for number, batch in enumerate(watched(loader, len(loader), "reading images off the scale", "batch")):
            moved = {name: tensor.to(method.device) for name, tensor in batch.items()}
            moved = trainer.precision_plugin.convert_input(moved)
            with trainer.precision_plugin.forward_context():
                found.append(Prediction(*(tensor.cpu() for tensor in method.predict_step(moved, number))))
        return found

    def _write(self, method: Any, parts: list[Prediction]) -> None:
        images: Any = self._images
        layout = Layout(targets=False, spread=bool(parts[0].spread.isfinite().any()), shares=shares_of(method, parts))
        heading = [*columns(method.scale, layout), *self._on_scale.columns]
        file = RowsFile(self._path, heading, process=0)
        for part in parts:
            file.append(self._on_scale.with_cells(rows_of(part, images.labels, method.scale, layout), part))
        file.finish(file.read())
        file.discard()
