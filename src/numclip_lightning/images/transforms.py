"""Albumentations pipelines from 8-bit RGB to the normalised tensor of a CLIP image tower."""

import os
import random
from typing import Literal, NamedTuple, cast, get_args

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from numclip_lightning.errors import ConfigError, check_choice

# Albumentations asks PyPI for its newest version on import unless this is set; set during the import alone.
_NO_UPDATE = "NO_ALBUMENTATIONS_UPDATE"
_was_set = _NO_UPDATE in os.environ
os.environ.setdefault(_NO_UPDATE, "1")
import albumentations as A  # noqa: E402
from albumentations.pytorch import ToTensorV2  # noqa: E402

if not _was_set:
    del os.environ[_NO_UPDATE]

__all__ = ["NORMALIZATIONS", "ImageTransform", "Normalization", "Normalize", "Preprocess", "build_transform"]

Preprocess = Literal["clip", "published"]
Normalize = Literal["clip", "imagenet", "half", "unit"]

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Normalization(NamedTuple):
    """Mean and standard deviation of red, green and blue, in 0..1, that images are normalised with."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


NORMALIZATIONS: dict[Normalize, Normalization] = {
    "clip": Normalization(CLIP_MEAN, CLIP_STD),
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # SigLIP and others map 0..1 to -1..1.
    "half": Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    # MobileCLIP takes 0..1 as it is.
    "unit": Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
# Share of the largest square that a training crop keeps at the least.
_LEAST_AREA = 0.8


class ImageTransform:
    """Pipeline that takes its randomness from torch.

    Albumentations has its own generators, which neither `seed_everything` nor a data loader's workers reach. So each
    call seeds them from torch's generator, which Lightning seeds in every process and worker and which advances with
    every sample. All steps share two generators: `Compose.set_random_seed` would give every step equal ones, and the
    flip would then depend on the crop.

    Args:
        steps: The transforms, ending in a float32 tensor.
        random: Whether any of them is random; if not, torch's generator is left untouched.
    """

    def __init__(self, steps: list[A.BasicTransform], *, random: bool) -> None:
        self.pipeline = A.Compose(steps)
        self.random = random

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """Transform an image, (H, W, 3) uint8, to (3, image_size, image_size) float32."""
        if self.random:
            seed = int(torch.randint(2**62, ()))
            self.pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        return cast("Tensor", self.pipeline(image=pixels)["image"])


def build_transform(
    image_size: int, preprocess: Preprocess, *, train: bool, normalization: Normalization | None = None
) -> ImageTransform:
    """Build the pipeline of a split. Images are made smaller by averaging, so that they don't alias.

    Args:
        image_size: Side of the square result in pixels.
        preprocess: `"clip"`: the shortest side is resized (bicubic) and the centre cropped, as CLIP was trained;
            training takes a random square of 80 to 100 % of the largest one's area, and flips. `"published"`: as the
            code of OrdinalCLIP and NumCLIP: resized to a square of 256/224 of the size whatever the aspect (Pillow's
            bilinear, to the last grey level), cropped (at random in training, else at the centre), and flipped in
            training.
        train: Whether to augment.
        normalization: Mean and deviation; None takes CLIP's, and for `"published"` ImageNet's, as that code does.

    Raises:
        ConfigError: If `preprocess` is unknown or `image_size` is less than 1.

    Example:
        >>> transform = build_transform(32, "clip", train=False)
        >>> transform(np.zeros((48, 64, 3), dtype=np.uint8)).shape
        torch.Size([3, 32, 32])
    """
    if image_size < 1:
        raise ConfigError(f"image_size={image_size} must be at least 1")
    check_choice("preprocess", preprocess, get_args(Preprocess))
    steps = _clip_steps(image_size, train=train) if preprocess == "clip" else _published_steps(image_size, train=train)
    if train:
        steps.append(A.HorizontalFlip(p=0.5))
    mean, std = normalization or NORMALIZATIONS["clip" if preprocess == "clip" else "imagenet"]
    return ImageTransform([*steps, A.Normalize(mean, std), ToTensorV2()], random=train)


def _clip_steps(size: int, *, train: bool) -> list[A.BasicTransform]:
    # Not RandomResizedCrop: a square of 80 % of the area does not fit into a 3:2 photograph, and it would silently
    # fall back to the centre.
    sides = list(range(size, round(size / _LEAST_AREA**0.5) + 1)) if train else size
    resize = A.SmallestMaxSize(max_size=sides, interpolation=cv2.INTER_CUBIC, area_for_downscale="image")
    return [resize, A.RandomCrop(size, size) if train else A.CenterCrop(size, size)]


def _published_steps(size: int, *, train: bool) -> list[A.BasicTransform]:
    return [_PillowResize(round(size * 256 / 224)), A.RandomCrop(size, size) if train else A.CenterCrop(size, size)]


class _PillowResize(A.ImageOnlyTransform):  # type: ignore[misc]
    """Resize to a square with Pillow's triangle filter, as torchvision's `Resize` does for the published code."""

    def __init__(self, size: int) -> None:
        super().__init__(p=1.0)
        self.size = size

    def apply(self, img: npt.NDArray[np.uint8], **params: object) -> npt.NDArray[np.uint8]:
        return np.array(Image.fromarray(img).resize((self.size, self.size), Image.Resampling.BILINEAR))
