"""Images of which it is known where their things are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from numclip_lightning.data.base.dataset import OrdinalDataset

__all__ = ["PointedDataset", "place_points"]


class PointedDataset(OrdinalDataset):
    """Images of one split, whose samples also have `"places"`, int16 (side, side): the number of things at each pixel.

    Args:
        points: Where the things of each image are, (N, 2): x and y as shares of its width and height.
        arguments: Those of `OrdinalDataset`. Its transform must leave nothing of an image out.
    """

    def __init__(self, *arguments: Any, points: Sequence[npt.NDArray[np.float64]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.points = points

    def made_of(self, index: int, pixels: npt.NDArray[np.uint8]) -> dict[str, Tensor]:
        """Return the image, and where its things are in it."""
        square, flipped = self.transform.square_and_side(pixels)
        places = place_points(self.points[index], self.transform.size)
        return {"image": self.transform.normalise(square), "places": places.flip(1) if flipped else places}


def place_points(points: npt.NDArray[np.float64], side: int) -> Tensor:
    """Return the number of points at each pixel of a square, int16 (side, side); none is lost.

    Args:
        points: x and y as shares of width and height, (N, 2). What lies outside counts at the edge.
        side: Pixels of the square.

    Example:
        >>> place_points(np.array([[0.1, 0.9], [0.2, 0.8], [1.0, 0.0]]), 2)
        tensor([[0, 1],
                [2, 0]], dtype=torch.int16)
    """
    cells = (points.reshape(-1, 2) * side).astype(np.int64).clip(0, side - 1)
    found = np.bincount(cells[:, 1] * side + cells[:, 0], minlength=side * side)
    return torch.from_numpy(found.reshape(side, side).astype(np.int16))
