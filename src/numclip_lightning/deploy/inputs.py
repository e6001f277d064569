"""What a predictor takes as images: files, Pillow's images, arrays, tensors, bytes, and many of them."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from numclip_lightning.errors import DataError
from numclip_lightning.images.folders import scan_folder
from numclip_lightning.images.loading import Reading, decode_rgb, load_rgb, rgb_of

__all__ = ["Named", "is_one_image", "named_images", "pixels_of"]


_ENCODED = bytes | bytearray | memoryview
# The kinds of NumPy's types that hold names of files: objects and text.
_NAMES = "OU"


class Named(NamedTuple):
    """An image that is not read yet.

    Attributes:
        name: Its path, or its place in what was given.
        image: What was given.
    """

    name: str
    image: Any


def is_one_image(given: Any) -> bool:
    """Return whether something is a single image, and not a folder or several images."""
    if isinstance(given, str | os.PathLike):
        # An empty path would be the working directory.
        return not os.fspath(given) or not Path(given).is_dir()
    if isinstance(given, np.ndarray) and given.ndim == 1 and given.dtype.kind in _NAMES:
        return False
    if isinstance(given, np.ndarray | Tensor):
        return given.ndim <= 3
    return isinstance(given, _ENCODED | Image.Image) or hasattr(given, "read")


def named_images(given: Any) -> Iterator[Named]:
    """Yield the images of a folder (sorted by path), an array or a tensor of four dimensions, or any iterable.

    Raises:
        DataError: If a folder has no images, or it is nothing of these.
    """
    if is_one_image(given):
        yield Named(str(given) if isinstance(given, str | os.PathLike) else "image 0", given)
        return
    if isinstance(given, str | os.PathLike):
        scan = scan_folder(Path(given))
        if not scan.images:
            left_out = f"; left out: {scan.left_out}" if scan.left_out else ""
            raise DataError(f"the folder {given} has no images{left_out}")
        given = scan.images
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise DataError(
            f"{type(given).__name__} is no image; give a path, an image of Pillow, an array (H, W, 3) of uint8, "
            "a tensor (3, H, W), or several of them"
        )
    for index, image in enumerate(given):
        if isinstance(image, Named):
            yield image
        else:
            yield Named(str(image) if isinstance(image, str | os.PathLike) else f"image {index}", image)


def pixels_of(image: Any, reading: Reading) -> npt.NDArray[np.uint8]:
    """Return the pixels of an image, (H, W, 3) uint8.

    Args:
        image: A path, an image of Pillow, an encoded image as bytes or an open binary file; an array (H, W, 3) or
            (H, W) of uint8; a tensor (3, H, W) of uint8, or of floating-point numbers in 0..1.
        reading: How files are read.

    Raises:
        DataError: If it can't be read, or has another shape or type.
    """
    if isinstance(image, str | os.PathLike):
        return load_rgb(_file(os.fspath(image)), reading)
    if hasattr(image, "read") and not isinstance(image, Image.Image):
        image = image.read()
    if isinstance(image, _ENCODED):
        return decode_rgb(bytes(image), reading)
    if isinstance(image, Image.Image):
        return _of_pillow(image, reading)
    if isinstance(image, Tensor):
        return _of_tensor(image)
    if isinstance(image, np.ndarray):
        return _of_array(image)
    raise DataError(f"{type(image).__name__} is no image; give a path, an image of Pillow, an array or a tensor")


def _file(path: str) -> str:
    """Refuse what names no file in a way that a reader of files could not explain."""
    if not path:
        raise DataError("the path is empty; give the path of an image")
    if "://" in path:
        raise DataError(f"{path} is an address, and nothing is fetched; give a file")
    if Path(path).is_dir():
        raise DataError(f"{path} is a folder; give it by itself, or list its images")
    return path


def _of_pillow(image: Image.Image, reading: Reading) -> npt.NDArray[np.uint8]:
    if 0 in image.size:
        raise DataError(f"the image has {image.width} x {image.height} pixels; give one that has some")
    return rgb_of(image, reading)


def _of_array(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if image.dtype != np.uint8 or not image.size:
        raise DataError(f"the array has the type {image.dtype} and the shape {image.shape}; give uint8, (H, W, 3)")
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"the array has the shape {image.shape}; give (H, W, 3), red, green and blue last")
    return np.ascontiguousarray(image)


def _of_tensor(image: Tensor) -> npt.NDArray[np.uint8]:
    if image.ndim != 3 or image.shape[0] != 3 or not image.numel():
        raise DataError(f"the tensor has the shape {tuple(image.shape)}; give (3, H, W), red, green and blue first")
    if image.is_floating_point():
        low, high = image.min().item(), image.max().item()
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"the tensor has numbers from {low:.3g} to {high:.3g}; give 0..1, not normalised, or uint8: the "
                "predictor normalises as its model was trained"
            )
        image = (image.float() * 255).round()
    elif image.dtype != torch.uint8:
        raise DataError(f"the tensor has the type {image.dtype}; give uint8, or floating-point numbers in 0..1")
    return np.ascontiguousarray(image.detach().permute(1, 2, 0).to("cpu", torch.uint8).numpy())
