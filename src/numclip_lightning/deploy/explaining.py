"""Where in an image a run's number comes from, and what a focus in words makes of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from numclip_lightning.deploy.inputs import pixels_of
from numclip_lightning.deploy.parts import Encoder
from numclip_lightning.deploy.prediction import Prediction, read_outputs
from numclip_lightning.deploy.predictor import OrdinalPredictor
from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.images.heat import Colours, heat_picture
from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.focus import SHARPNESS, focus_text, focus_weights
from numclip_lightning.models.maps import integrated_gradients, occlusion, value_map
from numclip_lightning.models.places import encode_part, encode_places

__all__ = ["MAPS", "SHARPNESS", "Explained", "Explainer", "MapName"]

MapName = Literal["values", "occlusion", "gradient"]
MAPS: tuple[MapName, ...] = get_args(MapName)


@dataclass(frozen=True, kw_only=True)
class Explained:
    """An image, its prediction, and maps of where the number comes from.

    Attributes:
        prediction: Of the whole image; of what a focus leaves, if there is one.
        pixels: The image as the tower sees it, (side, side, 3) uint8.
        maps: By name, float32 (rows, columns), each covering the whole image, in the unit of the scale: `values` are
            the numbers of the places, `occlusion` and `gradient` what each adds to the number.
        focus: How much each place counts, 0..1; None without a focus.
    """

    prediction: Prediction
    pixels: npt.NDArray[np.uint8]
    maps: dict[MapName, npt.NDArray[np.float32]] = field(default_factory=dict)
    focus: npt.NDArray[np.float32] | None = None

    def save(self, folder: Path, stem: str) -> list[Path]:
        """Write each map as a picture (`STEM.values.png`) and as numbers (`STEM.values.npy`); return the pictures."""
        folder.mkdir(parents=True, exist_ok=True)
        pictures = []
        tables: dict[str, npt.NDArray[np.float32]] = {**self.maps}  # type: ignore[dict-item]
        if self.focus is not None:
            tables["focus"] = self.focus
        for name, table in tables.items():
            np.save(folder / f"{stem}.{name}.npy", table)
            pictures.append(folder / f"{stem}.{name}.png")
            colours: Colours = "changes" if name in ("occlusion", "gradient") else "values"
            unit = "" if name == "focus" else self.prediction.unit
            heat_picture(self.pixels, table, colours, unit).save(pictures[-1])
        return pictures


class Explainer:
    """Says where in an image the number of a run comes from.

    Args:
        predictor: A predictor of a run or a checkpoint, or `mini`, loaded with `keep_text=True` for a focus in words. A
            folder that was exported holds no towers.

    Attributes:
        method: The method of the run.

    Raises:
        ConfigError: If the predictor was loaded from an exported folder.
    """

    def __init__(self, predictor: OrdinalPredictor) -> None:
        encoder = predictor.halves.encoder
        if not isinstance(encoder, Encoder):
            raise ConfigError(
                "an exported folder holds no towers to look into; explain the run or the checkpoint that it was "
                "exported from."
            )
        self.predictor = predictor
        self.method: Any = encoder.method

    def __call__(
        self,
        image: Any,
        maps: tuple[MapName, ...] = MAPS,
        *,
        focus: str | None = None,
        sharpness: float = SHARPNESS,
        cells: int = 8,
        steps: int = 32,
    ) -> Explained:
        """Explain one image.

        Args:
            image: A path, an image of Pillow, or whatever else a predictor takes as one image.
            maps: Which maps.
            focus: Words for what counts, such as "the optic disc"; the maps are of the whole image nevertheless.
            sharpness: Of the focus, 0 for none.
            cells: Squares in a row of the occlusion.
            steps: Of the gradient.

        Raises:
            ConfigError: If a map is unknown, or the method can't have it.
            DataError: If the image can't be read.
        """
        for name in maps:
            check_choice("maps", name, MAPS)
        tensor = self.tensor_of(image)
        weights = None if focus is None else self.focus_weights(tensor[None], focus, sharpness)
        found: dict[MapName, Tensor] = {}
        if "values" in maps:
            found["values"] = self.values(tensor[None])[0]
        if "occlusion" in maps:
            found["occlusion"] = occlusion(tensor, lambda x: self.method(x).value, cells)
        if "gradient" in maps:
            found["gradient"] = integrated_gradients(tensor, self._smooth_value, steps)
        features = None if weights is None else encode_part(self.method.clip, tensor[None], weights)
        return Explained(
            prediction=self.predict(tensor[None], features)[0],
            pixels=self._pixels(tensor),
            maps={name: table.float().cpu().numpy() for name, table in found.items()},
            focus=None if weights is None else weights[0].cpu().numpy(),
        )

    def tensor_of(self, image: Any) -> Tensor:
        """Return an image as the tower takes it, normalised, (3, side, side), on the predictor's device."""
        recipe = self.predictor.recipe
        return recipe(pixels_of(image, recipe.reading)).to(self.predictor.device)

    @torch.no_grad()
    def predict(self, images: Tensor, features: Tensor | None = None) -> list[Prediction]:
        """Predict images (B, 3, side, side), or what is left of them as features (B, D)."""
        if features is None:
            outputs = self.predictor.predict_tensors(images)
        else:
            halves = self.predictor.halves
            outputs = dict(zip(halves.names, halves.decoder(features.float()), strict=True))
        return read_outputs(outputs, self.predictor.scale, [f"image {i}" for i in range(len(images))])

    @torch.no_grad()
    def values(self, images: Tensor) -> Tensor:
        """Return the number of each place of images, (B, rows, columns).

        Raises:
            ConfigError: If the method reads patches by itself, and not the feature of an image.
        """
        self.require_features("a map of values")
        places = encode_places(self.method.clip, images)
        return value_map(places, lambda features: self.method.decode_features(features).value)

    @torch.no_grad()
    def focus_weights(self, images: Tensor, words: str, sharpness: float = SHARPNESS) -> Tensor:
        """Return how much each place of images looks like words, (B, rows, columns); see `models.focus`.

        Args:
            images: Normalised images (B, 3, side, side).
            words: What counts, as it would follow "a picture of".
            sharpness: s.

        Raises:
            ConfigError: If the method has no text tower, or reads patches by itself.
        """
        self.require_features("a focus")
        clip = self.method.clip
        if not isinstance(clip, CLIPBackbone):
            raise ConfigError(
                f"a focus in words needs a text tower, which {type(self.method).__name__} lacks; take a method guided "
                "by language, or a region."
            )
        return focus_weights(clip, images, focus_text(clip, self.method.scale.template, words), sharpness)

    def require_features(self, what: str) -> None:
        """Refuse a method that reads patches by itself, and not one feature of an image."""
        with torch.no_grad():
            side, device = self.method.clip.image_size, self.predictor.device
            features = self.method.encode_images(torch.zeros(1, 3, side, side, device=device))
        if features.ndim != 2:
            raise ConfigError(
                f"{what} needs one feature of an image, but {type(self.method).__name__} reads its patches by itself; "
                "take occlusion or gradient, or a crop."
            )

    def _smooth_value(self, images: Tensor) -> Tensor:
        """Return the number, or where it is counted (median, argmax) the mean of its distribution, with a gradient."""
        output = self.method(images)
        if output.value.requires_grad or output.logits.isinf().any():
            return output.value  # type: ignore[no-any-return]
        scale = self.predictor.scale
        centers = scale.axis.centers if output.logits.shape[1] == scale.num_levels else scale.axis.values
        return scale.axis.number(output.logits.softmax(dim=1) @ centers.to(output.logits))

    def _pixels(self, tensor: Tensor) -> npt.NDArray[np.uint8]:
        mean, std = (
            torch.tensor(numbers).view(3, 1, 1) for numbers in (self.predictor.recipe.mean, self.predictor.recipe.std)
        )
        pixels = (tensor.cpu() * std + mean).clamp(0, 1) * 255
        return pixels.round().byte().permute(1, 2, 0).numpy()
