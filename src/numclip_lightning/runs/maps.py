"""Maps of predicted images, and of the best and worst tested ones: which number each place reads."""

import logging
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.images.heat import heat_picture
from numclip_lightning.methods.base.types import Prediction
from numclip_lightning.metrics.extremes import extremes
from numclip_lightning.models.maps import value_map
from numclip_lightning.models.places import encode_places
from numclip_lightning.runs.rows import RowsFile, float32_text
from numclip_lightning.runs.shares import of_all_processes
from numclip_lightning.scale import OrdinalScale

__all__ = ["MapExtremes", "WriteMaps"]

_log = logging.getLogger(__name__)

# The range of colours is at least this share of the scale: a map of equal numbers shall look like one.
_LEAST = 0.05


class _Maps:
    """The files of maps: for image 12 of a list, `photos/a.png`, `000012-a.png` and `000012-a.npy`.

    The first is a picture, the second has the numbers, (rows, columns). `maps.csv` names the map of each path.

    Args:
        folder: Where to write; created here.
        trainer: Its datamodule knows how images were normalised.
        process: The number of the process.
    """

    def __init__(self, folder: Path, trainer: L.Trainer, process: int) -> None:
        self._folder = folder
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._mean, self._std = (torch.tensor(numbers).view(3, 1, 1) for numbers in data.normalization)
        self._listed = RowsFile(folder / "maps.csv", ["path", "map"], process)

    def write(self, index: int, path: str, image: Tensor, numbers: NDArray[np.float32], scale: OrdinalScale) -> None:
        """Write the map of a normalised image (3, H, W)."""
        pixels = ((image.float().cpu() * self._std + self._mean).clamp(0, 1) * 255).round().byte()
        # 50 letters are 200 bytes at the most; a name has 255.
        name = f"{index:06d}-{Path(path).stem[:50]}"
        np.save(self._folder / f"{name}.npy", numbers)
        least = _LEAST * (scale.maximum - scale.minimum)
        picture = heat_picture(pixels.permute(1, 2, 0).numpy(), numbers, "values", scale.unit, least)
        picture.save(self._folder / f"{name}.png")
        self._listed.append([(index, [path, name])])

    def finish(self, trainer: L.Trainer, *, together: bool) -> None:
        """Write `maps.csv`; several processes join their rows if they are all here."""
        rows = self._listed.read()
        if together:
            rows = [row for part in of_all_processes(rows, trainer) for row in part]
        if trainer.is_global_zero:
            self._listed.finish(rows)
        self._listed.discard()


class WriteMaps(Callback):
    """Writes a map of local values for each predicted image (`models.maps.value_map`).

    A map says what the model reads, which is no evidence.

    Args:
        folder: Where to write; created when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maps: _Maps | None = None

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse a method or a tower without comparable places before the first image.

        Raises:
            ConfigError: If the method reads patches by itself; BackboneError is a kind of it.
        """
        try:
            _check_places(pl_module)
        except ConfigError as error:
            raise ConfigError(f"--maps: {error}") from error

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
        method: Any = pl_module
        labels = trainer.datamodule.labels("predict")  # type: ignore[attr-defined]
        self._maps = self._maps or _Maps(self._folder, trainer, trainer.global_rank)
        readable, numbers = batch.get("readable"), _numbers(method, batch["image"])
        for row, index in enumerate(Prediction(*outputs).index.tolist()):
            if readable is None or readable[row]:
                self._maps.write(index, labels[index].path, batch["image"][row], numbers[row], method.scale)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """List them, and say where they are."""
        maps, self._maps = self._maps, None
        if maps:
            maps.finish(trainer, together=True)
            _log.info("maps of the predicted images are in %s", self._folder)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """List those that were written before an error."""
        maps, self._maps = self._maps, None
        if maps:
            maps.finish(trainer, together=False)


class MapExtremes(Callback):
    """Writes maps of the tested images with the largest and the smallest errors, which the report shows.

    A method or a tower without comparable places has none, and the log says why.

    Args:
        folder: Where to write; created when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._errors: dict[int, float] = {}

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget an earlier test."""
        self._errors = {}

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the error of each image, of the value as the file of predictions has it."""
        found = Prediction(**outputs)
        labels = trainer.datamodule.labels("test")  # type: ignore[attr-defined]
        for index, value in zip(found.index.tolist(), found.value.float().cpu().numpy(), strict=True):
            self._errors[index] = float(float32_text(value)) - labels[index].target

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Map the extremes; what is wrong with a map never spoils the test."""
        errors = {index: error for part in of_all_processes(self._errors, trainer) for index, error in part.items()}
        finite = sorted(index for index, error in errors.items() if np.isfinite(error))
        if not finite or not trainer.is_global_zero:
            return
        places = np.concatenate(extremes([errors[index] for index in finite]))
        try:
            _check_places(pl_module)
            self._write(trainer, pl_module, [finite[place] for place in dict.fromkeys(places.tolist())])
        except (ConfigError, OSError) as error:
            _log.info("the report has no maps: %s", error)

    def _write(self, trainer: L.Trainer, method: Any, chosen: list[int]) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        # That of the loader: to build another one, every image of the list would be looked up again.
        loader: Any = trainer.test_dataloaders
        labels, samples = data.labels("test"), loader.dataset
        maps = _Maps(self._folder, trainer, 0)
        for start in range(0, len(chosen), data.batch_size):
            part = chosen[start : start + data.batch_size]
            images = torch.stack([samples[index]["image"] for index in part]).to(method.device)
            with trainer.precision_plugin.forward_context():
                numbers = _numbers(method, trainer.precision_plugin.convert_input(images))
            for row, index in enumerate(part):
                maps.write(index, labels[index].path, images[row], numbers[row], method.scale)
        maps.finish(trainer, together=False)


@torch.no_grad()
def _check_places(method: Any) -> None:
    """Refuse a method or a tower without comparable places.

    Raises:
        ConfigError: If the method reads patches by itself; BackboneError is a kind of it.
    """
    side = method.clip.image_size
    black = torch.zeros(1, 3, side, side, device=method.device)
    if not hasattr(method, "map_of") and method.encode_images(black).ndim != 2:
        raise ConfigError(
            f"a map needs one feature of an image, but {type(method).__name__} reads its patches by itself; take "
            "numclip explain --maps occlusion."
        )
    _numbers(method, black)


@torch.no_grad()
def _numbers(method: Any, images: Tensor) -> NDArray[np.float32]:
    """Return the number of each place of normalised images, (B, rows, columns)."""
    if hasattr(method, "map_of"):
        # It counts by places: their sum is its number.
        found = method.map_of(images)
    else:
        found = value_map(encode_places(method.clip, images), lambda features: method.decode_features(features).value)
    numbers: NDArray[np.float32] = found.float().cpu().numpy()
    return numbers
