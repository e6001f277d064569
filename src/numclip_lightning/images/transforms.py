"""From 8-bit RGB to the normalised tensor of a CLIP image tower, by OpenCV and Pillow."""

import random
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from numclip_lightning.errors import ConfigError, check_choice

__all__ = [
    "NORMALIZATIONS",
    "ImageTransform",
    "Normalization",
    "Normalize",
    "Preprocess",
    "build_transform",
    "closest_crop",
    "resized_side",
]

Preprocess = Literal["clip", "published", "whole"]
Normalize = Literal["clip", "imagenet", "half", "unit", "backbone"]
Pixels = npt.NDArray[np.uint8]

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Normalization(NamedTuple):
    """Mean and standard deviation of red, green and blue, in 0..1, that images are normalised with."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


# What each word says by itself; `backbone` is for the weights to say.
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
    """Resize, crop, flip and normalise an image; all but the last step are on 8 bits.

    The randomness is torch's: Lightning seeds its generator in every process and worker, and it advances with every
    sample. Each image seeds a generator of its own from it, which all steps share, so that no step tells another.

    Args:
        size: Side of the square result in pixels.
        resize: Resizes an image to at least the square.
        train: Whether to crop and flip at random; if not, torch's generator is left untouched.
        normalization: Mean and deviation.
    """

    def __init__(
        self,
        size: int,
        resize: "_ShortestSide | _Squeeze",
        *,
        train: bool,
        normalization: Normalization,
    ) -> None:
        self.size, self.train = size, train
        self.settings = (type(resize).__name__, size, train)
        self.normalization = normalization
        self._resize = resize
        # An 8-bit value has 256 results: a table gives them without arithmetic on pixels.
        mean, std = (np.array(numbers, dtype=np.float32) * np.float32(255) for numbers in normalization)
        self._tables = (np.arange(256, dtype=np.float32) - mean[:, None]) * np.reciprocal(std)[:, None]

    def prepare(self, pixels: Pixels) -> Pixels:
        """Do the part of `square` that is not random, so that it is done once: `square` takes the result as an image.

        Without training, and with `published` resizing, the square is the same to the last grey level. Training crops
        of `clip` are then resized twice, the second time by a tenth at most.
        """
        prepared = self._resize.prepare(pixels, train=self.train)
        return np.ascontiguousarray(prepared)

    def square(self, pixels: Pixels) -> Pixels:
        """Resize, crop and flip an image, (H, W, 3) uint8, to (size, size, 3) uint8."""
        return self.square_and_side(pixels)[0]

    def square_and_side(self, pixels: Pixels) -> tuple[Pixels, bool]:
        """Do what `square` does, and say whether left and right were exchanged."""
        draw = random.Random(int(torch.randint(2**62, ()))) if self.train else None
        if draw:
            # Left out: albumentations, which made these draws before, starts with one; images of a seed stay the same.
            draw.random()
        pixels = self._resize(pixels, draw)
        height, width = (side - self.size for side in pixels.shape[:2])
        if draw:
            top, left = int((height + 1) * draw.random()), int((width + 1) * draw.random())
        else:
            top, left = height // 2, width // 2
        pixels = pixels[top : top + self.size, left : left + self.size]
        flipped = draw is not None and draw.random() < 0.5
        return cv2.flip(pixels, 1).astype(np.uint8, copy=False) if flipped else pixels, flipped

    def normalise(self, pixels: Pixels) -> Tensor:
        """Normalise 8-bit pixels, (H, W, 3) uint8, to (3, H, W) float32."""
        planes = np.empty((3, *pixels.shape[:2]), dtype=np.float32)
        for plane, channel, table in zip(planes, cv2.split(pixels), self._tables, strict=True):
            cv2.LUT(channel, table, dst=plane)
        return torch.from_numpy(planes)

    def __call__(self, pixels: Pixels) -> Tensor:
        """Transform an image, (H, W, 3) uint8, to (3, size, size) float32."""
        return self.normalise(self.square(pixels))


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
            training. `"whole"`: squeezed into the square in the same way, but nothing is cropped, so that whatever is
            counted stays in the image; flipped in training.
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
    kinds: dict[Preprocess, type[_ShortestSide | _Squeeze]] = {
        "clip": _ShortestSide, "published": _Squeeze, "whole": _SqueezeWhole,
    }  # fmt: skip
    normalization = normalization or NORMALIZATIONS["imagenet" if preprocess == "published" else "clip"]
    return ImageTransform(image_size, kinds[preprocess](image_size), train=train, normalization=normalization)


def resized_side(image_size: int, preprocess: Preprocess) -> int:
    """Return the shorter side in pixels that an image is resized to before the centre of it is cropped.

    Args:
        image_size: As for `build_transform`.
        preprocess: Likewise.
    """
    return round(image_size * 256 / 224) if preprocess == "published" else image_size


def closest_crop(image_size: int, preprocess: Preprocess) -> float:
    """Return how much larger than the transform of evaluation the closest crop of training shows things.

    Args:
        image_size: As for `build_transform`.
        preprocess: Likewise; 1 for those whose crops are all of one size.
    """
    return _longest_side(image_size) / image_size if preprocess == "clip" else 1.0


def _longest_side(image_size: int) -> int:
    side: int = round(image_size / _LEAST_AREA**0.5)
    return side


def _centre(pixels: Pixels, side: int) -> Pixels:
    """Return the square in the middle of an image."""
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


class _ShortestSide:
    """Resize the shortest side; in training to a random length, so that the crop keeps a random share of the area.

    A random area of the original would not do: a square of 80 % of it does not fit into a 3:2 photograph.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lengths = range(size, _longest_side(size) + 1)

    def prepare(self, pixels: Pixels, *, train: bool) -> Pixels:
        if not train:
            return _centre(self._to(pixels, self._size), self._size)
        # An image that is smaller than the largest crop is enlarged when it is cropped.
        return pixels if min(pixels.shape[:2]) <= self._lengths[-1] else self._to(pixels, self._lengths[-1])

    def __call__(self, pixels: Pixels, draw: random.Random | None) -> Pixels:
        return self._to(pixels, draw.choice(self._lengths) if draw else self._size)

    def _to(self, pixels: Pixels, length: int) -> Pixels:
        height, width = pixels.shape[:2]
        scale = length / min(height, width)
        shape = max(1, round(height * scale)), max(1, round(width * scale))
        if shape == (height, width):
            return pixels
        # Averaging where it gets smaller: bicubic interpolation would alias.
        kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        return cv2.resize(pixels, shape[::-1], interpolation=kind).astype(np.uint8, copy=False)


class _Squeeze:
    """Resize to a square with Pillow's triangle filter, as torchvision's `Resize` does for the published code.

    The square is larger than what is cropped from it.
    """

    def __init__(self, size: int) -> None:
        self._side = resized_side(size, "published")

    def prepare(self, pixels: Pixels, *, train: bool) -> Pixels:
        return self(pixels, None)

    def __call__(self, pixels: Pixels, draw: random.Random | None) -> Pixels:
        resized = Image.fromarray(pixels).resize((self._side, self._side), Image.Resampling.BILINEAR)
        return np.asarray(resized)


class _SqueezeWhole(_Squeeze):
    """Resize to a square of which nothing is cropped."""

    def __init__(self, size: int) -> None:
        self._side = size
