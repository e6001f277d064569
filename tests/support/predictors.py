"""Predictors of tiny models, and images for them."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from numclip_lightning import methods
from numclip_lightning.deploy import OrdinalPredictor, Recipe
from numclip_lightning.methods import NumCLIP, OrdinalMethod
from support.scales import DOTS
from support.tiny_clip import register_tiny_clips

_NAMED = [getattr(methods, name) for name in methods.__all__]
KINDS: list[type[OrdinalMethod]] = [
    kind for kind in _NAMED if isinstance(kind, type) and issubclass(kind, OrdinalMethod) and kind is not OrdinalMethod
]

RECIPE = Recipe(image_size=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


def tiny_method(kind: type[OrdinalMethod] = NumCLIP, **arguments: Any) -> OrdinalMethod:
    """A method on a random CLIP of 32 pixels."""
    register_tiny_clips()
    return kind(**{"scale": DOTS, "backbone": "tiny-timm", "pretrained": None, **arguments})


@cache
def tiny_predictor() -> OrdinalPredictor:
    """A predictor of NumCLIP with a random CLIP; the same for all tests."""
    return OrdinalPredictor.from_method(tiny_method(), RECIPE)


def random_images(number: int, seed: int = 0, most: int = 90) -> list[npt.NDArray[np.uint8]]:
    """Images of noise, each of another size and brightness."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(8, most, (number, 2))
    return [
        (generator.integers(0, 256, (height, width, 3)) * generator.random()).astype(np.uint8)
        for height, width in sizes
    ]
