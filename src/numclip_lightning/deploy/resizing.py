"""Preprocessing as tensor operations, for graphs that take decoded images of any size: the recipe, to a grey level.

A resize is a matrix for the rows and one for the columns, computed from the size of the image. The matrices are those
of the libraries that training has used: OpenCV's area average (smaller) and cubic (larger), Pillow's triangle filter.
"""

import torch
from torch import Tensor, nn

from numclip_lightning.deploy.recipe import Recipe

__all__ = ["InGraph"]

# OpenCV's sharpness of the cubic kernel.
_CUBIC = -0.75
# Pillow's weights are whole numbers of this fraction.
_PILLOW = 2.0**22


class _Axis:
    """A direction of an image whose size may be unknown yet.

    Args:
        size: Pixels, a number or the symbol of a tracer.
    """

    def __init__(self, size: int) -> None:
        self.size = torch.ones(1, dtype=torch.float64) * size
        self.cells = torch.arange(size, dtype=torch.float64)[None]


class InGraph(nn.Module):
    """The recipe as a module: images (B, H, W, 3) uint8, all of one size -> normalised images (B, 3, side, side).

    Args:
        recipe: The recipe; limits and grey ranges are for readers of files, and are not part of it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.side, self.squeezes = recipe.image_size, recipe.preprocess != "clip"
        # The published square is larger than what is cropped from it.
        self.squeezed = round(self.side * 256 / 224) if recipe.preprocess == "published" else self.side
        # As `images.transforms` does it: in float32, on 0..255.
        self.register_buffer("mean", torch.tensor(recipe.mean, dtype=torch.float32) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(recipe.std, dtype=torch.float32) * 255, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Resize, crop and normalise."""
        height, width = _Axis(images.shape[1]), _Axis(images.shape[2])
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        resized = self._squeeze(pixels, height, width) if self.squeezes else self._fit(pixels, height, width)
        # Pixels are whole numbers at each step.
        shape = (1, 3, 1, 1)
        return (resized - self.mean.reshape(shape)) / self.std.reshape(shape)

    def _fit(self, pixels: Tensor, height: _Axis, width: _Axis) -> Tensor:
        """Resize the shortest side to `side`, and crop the centre."""
        scale = self.side / torch.minimum(height.size, width.size)
        down = (scale < 1).to(torch.float64)
        rows, columns = (self._fitting(axis, scale, down) for axis in (height, width))
        found = rows @ pixels @ columns.transpose(0, 1)
        # OpenCV rounds half to even, except where it halves an image exactly: there it rounds up.
        halved = (scale == 0.5).to(torch.float32) * 1e-3
        return (found + halved).round().clamp(0, 255)

    def _fitting(self, axis: _Axis, scale: Tensor, down: Tensor) -> Tensor:
        """Return the matrix (side, size) of one direction."""
        whole = (axis.size * scale).round().clamp(min=1)
        # The rows of the crop among those of the resized image.
        place = torch.arange(self.side, dtype=torch.float64) + ((whole - self.side) / 2).floor()
        step = axis.size / whole
        matrix = down * _area(place, step, axis) + (1 - down) * _cubic(place, step, axis)
        return matrix.to(torch.float32)

    def _squeeze(self, pixels: Tensor, height: _Axis, width: _Axis) -> Tensor:
        """Resize to a square whatever the aspect, and crop the centre of the published one."""
        whole = self.squeezed
        place = torch.arange(self.side, dtype=torch.float64) + (whole - self.side) // 2
        rows, columns = (_triangle(place, axis.size / whole, axis) for axis in (height, width))
        # Pillow resizes the columns first, and rounds half up each time, to 8 bits.
        across = (pixels.to(torch.float64) @ columns.transpose(0, 1) + 0.5).floor().clamp(0, 255)
        return (rows @ across + 0.5).floor().clamp(0, 255).to(torch.float32)


def _area(place: Tensor, step: Tensor, axis: _Axis) -> Tensor:
    """Share of each pixel in the stretch `[place, place + 1] * step`."""
    start, cell = (place * step)[:, None], axis.cells
    end = torch.minimum(start + step, axis.size)
    overlap = torch.minimum(end, cell + 1) - torch.maximum(start, cell)
    # OpenCV leaves out shares of less than a thousandth of a pixel.
    overlap = torch.where(overlap > 1e-3, overlap, torch.zeros_like(overlap))
    return overlap / overlap.sum(dim=1, keepdim=True)


def _cubic(place: Tensor, step: Tensor, axis: _Axis) -> Tensor:
    """Weights of the four pixels around each place; those beyond the edge are the edge."""
    centre = (place + 0.5) * step - 0.5
    first, cell = centre.floor(), axis.cells
    x, a = centre - first, _CUBIC
    weights = [
        ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a,
        ((a + 2) * x - (a + 3)) * x * x + 1,
        ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1,
    ]
    weights.append(1 - weights[0] - weights[1] - weights[2])
    total = torch.zeros_like(cell)
    for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
        nearest = torch.minimum((first + offset).clamp(min=0), axis.size - 1)
        total = total + (nearest[:, None] == cell).to(torch.float64) * weight[:, None]
    return total


def _triangle(place: Tensor, step: Tensor, axis: _Axis) -> Tensor:
    """Pillow's triangle filter, as wide as the step, in its 22 bits."""
    reach = step.clamp(min=1)
    centre, cell = ((place + 0.5) * step)[:, None], axis.cells
    first, end = (centre - reach + 0.5).floor().clamp(min=0), torch.minimum((centre + reach + 0.5).floor(), axis.size)
    inside = (cell >= first) & (cell < end)
    weight = (1 - ((cell + 0.5 - centre) / reach).abs()).clamp(min=0) * inside
    return (weight / weight.sum(dim=1, keepdim=True) * _PILLOW + 0.5).floor() / _PILLOW
