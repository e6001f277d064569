"""The predictor: from an image to a number in three lines, without a trainer and without a datamodule."""

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from numclip_lightning.calibration import calibration_of
from numclip_lightning.deploy.embedded import EMBEDDED, embedded_method
from numclip_lightning.deploy.folder import Halves, is_exported, read_folder
from numclip_lightning.deploy.hub import HubModel, Precision
from numclip_lightning.deploy.inputs import is_one_image, named_images, pixels_of
from numclip_lightning.deploy.prediction import Prediction, Predictions, read_outputs
from numclip_lightning.deploy.recipe import Recipe
from numclip_lightning.deploy.sources import arguments_of, fetch, halves_of, load_run
from numclip_lightning.errors import ConfigError, DataError, check_choice
from numclip_lightning.scale import OrdinalScale

__all__ = ["OnError", "OrdinalPredictor", "Precision"]

OnError = Literal["raise", "skip"]

_log = logging.getLogger(__name__)
_KNOWN = ("method", "arguments", "training", "on_scale")
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class OrdinalPredictor(HubModel, library_name="numclip-lightning"):
    """A trained model that reads numbers from images.

    `load` makes one; the constructor is for models that are in memory. It keeps no state between calls, so that several
    threads may use one at once. The prediction of an image does not depend on the others in its batch.

    Args:
        halves: The model.
        scale: Its scale.
        recipe: How its images are made.
        about: What else is known of it: `method`, `arguments`, `training` (see `facts_of_run`), `calibration` (of the
            run, as plain values: predictions then have intervals).
        device: Where it computes, such as `cpu` or `cuda:0`.
        precision: Of the image tower; all that follows is computed in float32.
        batch_size: Images at once.

    Attributes:
        scale: The scale.
        recipe: How images are made.
        about: What is known of the model, as plain values.
        calibration: That of the run; None if it has none.

    Raises:
        ConfigError: If the precision is unknown, the batch size below 1 or the device not here.

    Example:
        >>> predictor = OrdinalPredictor.load("mini")
        >>> prediction = predictor(torch.zeros(3, 64, 64))
        >>> prediction.unit, len(prediction.probabilities)
        ('things', 7)
    """

    def __init__(
        self,
        halves: Halves,
        scale: OrdinalScale,
        recipe: Recipe,
        *,
        about: Mapping[str, Any] | None = None,
        device: str | torch.device = "cpu",
        precision: Precision = "float32",
        batch_size: int = 32,
    ) -> None:
        check_choice("precision", precision, get_args(Precision))
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError(f"batch_size={batch_size} must be a whole number of at least 1.")
        try:
            self.device = torch.device(device)
            self._halves = Halves(halves.encoder.to(self.device), halves.decoder.to(self.device), halves.names)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"device={str(device)!r} can't be used: {str(error).splitlines()[0]}") from error
        self.scale, self.recipe, self.about = scale, recipe, dict(about or {})
        known = self.about.get("calibration")
        self.calibration = calibration_of(known, "the calibration of this model") if known else None
        self.precision, self.batch_size = precision, batch_size

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str],
        *,
        device: str | torch.device = "cpu",
        precision: Precision = "float32",
        batch_size: int = 32,
        recipe: Recipe | None = None,
        backbone: str | None = None,
        keep_text: bool = False,
    ) -> Self:
        """Load a predictor.

        Args:
            source: A folder that `save_pretrained` or `numclip export` has written, a run folder (its best checkpoint),
                a checkpoint, the name of a model on the Hub (`owner/name`), or `mini`, which comes with the package and
                counts things in generated scenes.
            device: Where it computes.
            precision: Of the image tower.
            batch_size: Images at once.
            recipe: How images are made, in place of what the run says.
            backbone: Where the CLIP of a checkpoint is now, if its `local-dir:` has moved.
            keep_text: Whether the text tower of a run stays in memory: a focus in words, and the words of levels, need
                it; numbers don't.

        Raises:
            ConfigError: If there is no model, or it can't be loaded whole.
        """
        if not isinstance(source, str | os.PathLike):
            raise ConfigError(f"{source!r} is no path; give a folder, a checkpoint, a name on a hub, or {EMBEDDED!r}.")
        if source == EMBEDDED:
            method = embedded_method(keep_text=keep_text)
            return cls.from_method(method, recipe, device=device, precision=precision, batch_size=batch_size)
        place = Path(source)
        if not place.exists():
            if isinstance(source, str) and _HUB_NAME.fullmatch(source):
                place = Path(fetch(source))
            else:
                raise ConfigError(f"{source} is neither a file, a folder nor the name of a model on a hub; correct it.")
        if place.is_dir() and is_exported(place):
            halves, scale, config = read_folder(place)
            about: dict[str, Any] = {name: config[name] for name in (*_KNOWN, "calibration") if name in config}
            recipe = recipe or Recipe.of(config["preprocessing"])
        else:
            halves, scale, recipe, about = load_run(place, recipe, backbone, keep_text=keep_text)
        return cls(halves, scale, recipe, about=about, device=device, precision=precision, batch_size=batch_size)

    @classmethod
    def from_method(
        cls,
        method: Any,
        recipe: Recipe | None = None,
        *,
        about: Mapping[str, Any] | None = None,
        device: str | torch.device = "cpu",
        precision: Precision = "float32",
        batch_size: int = 32,
    ) -> Self:
        """Make a predictor of a method in memory, which is put into evaluation and shared, not copied.

        Args:
            method: Any `OrdinalMethod`, trained.
            recipe: How images are made; None as its backbone takes them.
            about: What else is known of it: `training` (see `facts_of_run`).
            device: Where it computes; the method moves there.
            precision: Of the image tower.
            batch_size: Images at once.
        """
        clip = method.clip
        recipe = recipe or Recipe(image_size=clip.image_size, mean=tuple(clip.mean), std=tuple(clip.std))
        known = {"method": type(method).__name__, "arguments": arguments_of(method), **(about or {})}
        halves = halves_of(method, known.get("calibration"))
        return cls(halves, method.scale, recipe, about=known, device=device, precision=precision, batch_size=batch_size)

    def __call__(self, images: Any, *, on_error: OnError = "raise") -> Any:
        """Predict one image or several.

        Args:
            images: An image: a path, an image of Pillow, an array (H, W, 3) or (H, W) of uint8, a tensor (3, H, W) of
                uint8 or of numbers in 0..1, an encoded image as bytes or an open binary file. Or several: a folder, a
                list, an array or a tensor of four dimensions, or any iterable.
            on_error: What to do with an image that can't be read: `raise`, or `skip` it and go on. Of one image alone
                there is nothing to go on with.

        Returns:
            A `Prediction` for an image, `Predictions` in their order for several.

        Raises:
            DataError: If an image can't be read; the message names it.
        """
        check_choice("on_error", on_error, get_args(OnError))
        if is_one_image(images):
            return next(iter(self.stream(images)))
        skipped: dict[str, str] = {}
        found = list(self._stream(images, on_error, skipped))
        return Predictions(found, skipped)

    def stream(self, images: Any, *, on_error: OnError = "raise") -> Iterator[Prediction]:
        """Yield the prediction of each image in order; no more than a batch of images is held at a time.

        Args:
            images: As for a call; a generator is read as far as it is needed.
            on_error: As for a call; images that are skipped are logged.

        Raises:
            DataError: If an image can't be read; the message names it.
        """
        return self._stream(images, on_error, {})

    def _stream(self, images: Any, on_error: OnError, skipped: dict[str, str]) -> Iterator[Prediction]:
        check_choice("on_error", on_error, get_args(OnError))
        readable = self.readable(images, on_error, skipped)
        while batch := list(islice(readable, self.batch_size)):
            names, tensors = zip(*batch, strict=True)
            yield from self.predictions(torch.stack(tensors), names)

    def predictions(self, images: Tensor, names: Sequence[str]) -> list[Prediction]:
        """Predict images that were made by `recipe`.

        Args:
            images: Normalised images (B, 3, side, side).
            names: The name of each, B of them.
        """
        return read_outputs(self.predict_tensors(images), self.scale, names, self.calibration)

    def readable(self, images: Any, on_error: OnError, skipped: dict[str, str]) -> Iterator[tuple[str, Tensor]]:
        """Yield the name of each image and the image as `recipe` makes it, (3, side, side); note those skipped."""
        for name, image in named_images(images):
            try:
                yield name, self.recipe(pixels_of(image, self.recipe.reading))
            except DataError as error:
                reason = str(error)
                if on_error == "raise":
                    raise DataError(reason if name in reason else f"{name}: {reason}") from error
                skipped[name] = reason
                _log.warning("%s was skipped: %s", name, reason)

    @torch.inference_mode()
    def predict_tensors(self, images: Tensor) -> dict[str, Tensor]:
        """Return the numbers of images that were made by `recipe`, by name, on the device.

        Args:
            images: Normalised images (B, 3, side, side).

        Returns:
            `value` (B,), `probabilities` (B, K), and maybe `spread` (B,) and others (B,), in float32.
        """
        with self._autocast():
            features = self._halves.encoder(images.to(self.device))
        found = self._halves.decoder(features.float())
        return dict(zip(self._halves.names, found, strict=True))

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.precision))

    @property
    def halves(self) -> Halves:
        """The model as its image tower and the rest."""
        return self._halves

    @property
    def config(self) -> dict[str, Any]:
        """What is known of the model, as plain values."""
        return {"method": "?", **self.about, "preprocessing": self.recipe.to_dict()}
