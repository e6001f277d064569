"""Pictures of a run while it runs: files in its folder, and the same on the pages of its loggers."""

import importlib.util
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger

from numclip_lightning.errors import NumClipError
from numclip_lightning.images.loading import load_rgb
from numclip_lightning.runs.calibrating import VALIDATION
from numclip_lightning.runs.checkpoints import best_checkpoint
from numclip_lightning.runs.durable import write_whole
from numclip_lightning.runs.folder import is_better, metrics_of, run_folder
from numclip_lightning.runs.prototypes import PROTOTYPES, prototypes_text

__all__ = ["RunPictures"]

_log = logging.getLogger(__name__)

_PICTURES, _TESTED = "pictures", "test_predictions.csv"


class RunPictures(Callback):
    """Draws what a run shows, at its end: curves, predicted against true numbers, confusion, prototypes, worst images.

    A fit draws the validation images of its best epoch (as `numclip validate` does those of its checkpoint), a test the
    tested ones. Every picture is a file in `pictures/` of the run folder, and is handed to each logger that takes
    pictures: Weights & Biases and TensorBoard. The first process draws.

    Args:
        images: Whether the worst images are shown; not those of private people.
    """

    def __init__(self, *, images: bool) -> None:
        self._images = images
        self._best: dict[str, float] = {}
        self._prototypes = ""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Say at the beginning what is missing."""
        missing = [name for name in ("matplotlib", "pandas", "jinja2") if importlib.util.find_spec(name) is None]
        if missing and trainer.is_global_zero:
            _log.warning("no pictures: %s is missing; pip install 'numclip-lightning[report]'", ", ".join(missing))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the prototypes of the best epoch, which the weights at the end of the fit no longer have."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        if trainer.state.fn == "validate":
            self._prototypes = prototypes_text(pl_module)
            self._draw(trainer, "val")
            return
        metrics, keeper = metrics_of(trainer, "val_"), best_checkpoint(trainer)
        if keeper is None or is_better(metrics, self._best, keeper):
            self._best, self._prototypes = metrics, prototypes_text(pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the fit and its best epoch."""
        if trainer.is_global_zero:
            self._draw(trainer, "val")

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the tested images."""
        if trainer.is_global_zero:
            self._prototypes = prototypes_text(pl_module)
            self._draw(trainer, "test")

    def _draw(self, trainer: L.Trainer, split: str) -> None:
        """Draw, and hand over; what is wrong with a picture never spoils a run."""
        folder = run_folder(trainer)
        if self._prototypes:
            write_whole(folder / PROTOTYPES, self._prototypes)
        try:
            drawn = self._drawn(folder, split, fits=trainer.state.fn == "fit")
        except ImportError:
            return
        except (NumClipError, OSError) as error:
            _log.warning("no pictures: %s", error)
            return
        for logger in trainer.loggers:
            _hand_over(logger, drawn, trainer.global_step)
        if drawn:
            _log.info("%d pictures are in %s", len(drawn), folder / _PICTURES)

    def _drawn(self, folder: Path, split: str, *, fits: bool) -> dict[str, Path]:
        from numclip_lightning.commands.report import loader_of
        from numclip_lightning.report.reading import read_run
        from numclip_lightning.report.run_pictures import draw_curves_of_run, draw_pictures

        place, metrics = folder / _PICTURES, folder / "metrics.csv"
        found = draw_curves_of_run(metrics, place) if fits and metrics.is_file() else {}
        predictions = folder / (_TESTED if split == "test" else VALIDATION)
        if not predictions.is_file():
            # Without calibration, or where test images choose, a fit keeps none.
            _log.info("no pictures of predictions: %s was not written", predictions.name)
            return found
        return found | draw_pictures(read_run(predictions), place, split, loader_of(None) if self._images else None)


def _hand_over(logger: Any, drawn: Mapping[str, Path], step: int) -> None:
    """Give pictures to a logger: Weights & Biases and others with `log_image`, or a writer of TensorBoard."""
    named = {f"{_PICTURES}/{name}": file for name, file in drawn.items()}
    if isinstance(logger, CSVLogger) or not named:
        return
    if hasattr(logger, "log_image"):
        for name, file in named.items():
            logger.log_image(name, [str(file)], step=step)
    elif hasattr(logger.experiment, "add_image"):
        for name, file in named.items():
            logger.experiment.add_image(name, load_rgb(file), step, dataformats="HWC")
    else:
        _log.info("%s takes no pictures; they are in the run folder", type(logger).__name__)
