"""Corruptions of images in five strengths, as a test of what a model bears.

After Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
2019 (arXiv 1903.12261), by albumentations. They act on the resized 8-bit image: before resizing, they would do less.
"""

import os
import random
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import cv2
import numpy as np
import numpy.typing as npt

from numclip_lightning.errors import ConfigError

__all__ = ["KINDS", "STRENGTHS", "Corruption", "Kind", "parse_corruptions"]

Kind = Literal["noise", "blur", "jpeg", "brightness", "contrast", "resolution"]
KINDS: tuple[Kind, ...] = get_args(Kind)
STRENGTHS = (1, 2, 3, 4, 5)

# For strengths 1 to 5: deviation of the noise in 0..1; deviation of the blur in pixels of a side of 224 (half of it on
# small images); quality; what is added in 0..1; by what the distance from the mean grey is multiplied; and the side.
_LEVELS: dict[Kind, tuple[float, ...]] = {
    "noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "blur": (1, 2, 3, 4, 6),
    "jpeg": (25, 18, 15, 10, 7),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    "resolution": (0.6, 0.5, 0.4, 0.3, 0.25),
}


class Corruption(NamedTuple):
    """A kind of corruption and its strength.

    Attributes:
        kind: What is done.
        strength: 1 to 5; 0 leaves images as they are.
    """

    kind: Kind
    strength: int

    def __str__(self) -> str:
        """Return its name as on the command line: `noise:3`."""
        return f"{self.kind}:{self.strength}"

    def __call__(self, pixels: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.uint8]:
        """Corrupt an image.

        Args:
            pixels: (H, W, 3) uint8; not changed.
            seed: Of what is random, such as the index of the image: its noise is the same in every run.
        """
        if not self.strength:
            return pixels
        library = _albumentations()
        level = _LEVELS[self.kind][self.strength - 1]
        pipeline = library.Compose([_transform(library, self.kind, level, min(pixels.shape[:2]))])
        pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        found: npt.NDArray[np.uint8] = pipeline(image=pixels)["image"]
        return found


def _albumentations() -> Any:
    """Import albumentations when an image is to be corrupted: it takes half a second that no other run should pay."""
    # It asks PyPI for its newest version on import unless this is set; set during the import alone.
    name = "NO_ALBUMENTATIONS_UPDATE"
    was_set = name in os.environ
    os.environ.setdefault(name, "1")
    import albumentations

    if not was_set:
        del os.environ[name]
    return albumentations


def _transform(library: Any, kind: Kind, level: float, side: int) -> Any:
    if kind == "noise":
        return library.GaussNoise(std_range=(level, level), p=1)
    if kind == "blur":
        # On small images a thinner blur would be none.
        sigma = level * max(side / 224, 0.5)
        return library.GaussianBlur(blur_limit=0, sigma_limit=(sigma, sigma), p=1)
    if kind == "jpeg":
        return library.ImageCompression(quality_range=(int(level), int(level)), p=1)
    if kind == "brightness":
        return library.RandomBrightnessContrast(brightness_limit=(level, level), contrast_limit=(0, 0), p=1)
    if kind == "contrast":
        return library.ColorJitter(brightness=(1, 1), contrast=(level, level), saturation=(1, 1), hue=(0, 0), p=1)
    between = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
    return library.Downscale(scale_range=(level, level), interpolation_pair=between, p=1)


def parse_corruptions(given: str) -> list[Corruption]:
    """Read `all`, or kinds with or without a strength: `noise,blur:3`.

    Returns:
        Each once, in the order of `KINDS` and by strength; a kind without a strength in all five.

    Raises:
        ConfigError: If there is none, or one is unknown.

    Example:
        >>> [str(corruption) for corruption in parse_corruptions("blur:3,blur:1")]
        ['blur:1', 'blur:3']
    """
    words: Sequence[str] = KINDS if given.strip() == "all" else [word.strip() for word in given.strip("[]").split(",")]
    found = set()
    for word in words:
        kind, _, strength = word.partition(":")
        strengths = [str(number) for number in STRENGTHS]
        if kind not in KINDS or (strength and strength not in strengths):
            raise ConfigError(
                f"--corrupt has {word!r}; give all, or {', '.join(KINDS)}, each with a strength of 1 to 5 (noise:3) or "
                "without for all five."
            )
        found |= {(KINDS.index(kind), int(number)) for number in ([strength] if strength else strengths)}
    return [Corruption(KINDS[place], strength) for place, strength in sorted(found)]
