"""The recipe of an image: all that happens between a file and the tensor that the image tower takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from torch import Tensor

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.images.loading import MAX_PIXELS, Reading
from numclip_lightning.images.transforms import ImageTransform, Normalization, Preprocess, build_transform

__all__ = ["Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How images are read, resized and normalised; it travels with whatever is exported.

    Args:
        image_size: Side of the square images in pixels.
        mean: Mean of red, green and blue, in 0..1.
        std: Their standard deviation.
        preprocess: `clip` (shortest side resized, centre cropped), `published` (squeezed to a square, centre cropped)
            or `whole` (squeezed to a square).
        max_pixels: The most pixels of an image, see `Reading`.
        grey_range: What is black and white in images of more than 8 bits, see `Reading`.
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    preprocess: Preprocess = "clip"
    max_pixels: int = MAX_PIXELS
    grey_range: tuple[float, float] | None = None
    _transform: ImageTransform = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the transform."""
        check_choice("preprocess", self.preprocess, get_args(Preprocess))
        normalization = Normalization(tuple(self.mean), tuple(self.std))
        transform = build_transform(self.image_size, self.preprocess, train=False, normalization=normalization)
        object.__setattr__(self, "_transform", transform)

    @property
    def reading(self) -> Reading:
        """Limits and ranges for files."""
        return Reading(self.max_pixels, self.grey_range)

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """Transform an image, (H, W, 3) uint8, to (3, image_size, image_size) float32."""
        return self._transform(pixels)

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments as plain values."""
        names = ("preprocess", "image_size", "mean", "std", "max_pixels", "grey_range")
        return {name: _plain(getattr(self, name)) for name in names}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Recipe":
        """Build a recipe from the plain values of `to_dict`.

        Raises:
            ConfigError: If one is missing or unknown.
        """
        try:
            known = {**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])}
            if known.get("grey_range") is not None:
                known["grey_range"] = tuple(known["grey_range"])
            return cls(**known)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"the preprocessing {dict(values)} can't be read ({error}).") from error


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
