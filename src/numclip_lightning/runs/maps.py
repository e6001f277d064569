"""Maps of predicted images: which number each place reads, as a picture and as numbers."""

import logging
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.images.heat import heat_picture
from numclip_lightning.methods.base.types import Prediction
from numclip_lightning.models.maps import value_map
from numclip_lightning.models.places import encode_places

__all__ = ["WriteMaps"]

_log = logging.getLogger(__name__)


class WriteMaps(Callback):
    """Writes a map of local values for each predicted image (`models.maps.value_map`).

    For image 12 of the list, `photos/a.png`, `000012-a.png` is the picture and `000012-a.npy` the numbers, (rows,
    columns). A map says what the model reads, which is no evidence.

    Args:
        folder: Where to write; created when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse a method or a tower without comparable places before the first image.

        Raises:
            ConfigError: If the method reads patches by itself; BackboneError is a kind of it.
        """
        method: Any = pl_module
        side = method.clip.image_size
        black = torch.zeros(1, 3, side, side, device=pl_module.device)
        with torch.no_grad():
            if not hasattr(method, "map_of") and method.encode_images(black).ndim != 2:
                raise ConfigError(
                    f"--maps needs one feature of an image, but {type(method).__name__} reads its patches by itself; "
                    "take numclip explain --maps occlusion."
                )
            self._maps(method, black)

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the maps of a batch."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        method: Any = pl_module
        labels, unit = data.labels("predict"), method.scale.unit
        mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in data.normalization)
        self._folder.mkdir(parents=True, exist_ok=True)
        readable = batch.get("readable")
        maps = self._maps(method, batch["image"]).float().cpu().numpy()
        for row, index in enumerate(Prediction(*outputs).index.tolist()):
            if readable is not None and not readable[row]:
                continue
            pixels = ((batch["image"][row].float().cpu() * std + mean).clamp(0, 1) * 255).round().byte()
            place = self._folder / f"{index:06d}-{Path(labels[index].path).stem}"
            np.save(place.with_name(f"{place.name}.npy"), maps[row])
            picture = heat_picture(pixels.permute(1, 2, 0).numpy(), maps[row], "values", unit)
            picture.save(place.with_name(f"{place.name}.png"))

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say where they are."""
        _log.info("maps of the predicted images are in %s", self._folder)

    @torch.no_grad()
    def _maps(self, method: Any, images: Tensor) -> Tensor:
        if hasattr(method, "map_of"):
            # It counts by places: their sum is its number.
            counted: Tensor = method.map_of(images)
            return counted
        return value_map(encode_places(method.clip, images), lambda features: method.decode_features(features).value)
