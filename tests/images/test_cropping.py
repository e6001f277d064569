"""Parts of images by their corners, against a loop over pixels."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from numclip_lightning.errors import DataError
from numclip_lightning.images.cropping import crop_box, widened

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def turned(centre: tuple[float, float], size: tuple[float, float], degrees: float) -> list[float]:
    """The corners of a rectangle, from the upper left one clockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = []
    for right, down in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        x, y = right * size[0] / 2, down * size[1] / 2
        corners += [centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos]
    return corners


def slowly(corners: list[float], width: int, height: int) -> npt.NDArray[np.float64]:
    """Each pixel by itself: where its middle lies in the image, and the four pixels around."""
    (x0, y0, x1, y1, _, _, x3, y3) = corners
    found = np.zeros((height, width, 3))
    for row in range(height):
        for column in range(width):
            across, down = (column + 0.5) / width, (row + 0.5) / height
            x = x0 + across * (x1 - x0) + down * (x3 - x0) - 0.5
            y = y0 + across * (y1 - y0) + down * (y3 - y0) - 0.5
            if not (-0.5 <= x < 39.5 and -0.5 <= y < 29.5):
                continue
            for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
                place = math.floor(y) + i, math.floor(x) + j
                share = (1 - abs(y - place[0])) * (1 - abs(x - place[1]))
                found[row, column] += share * PIXELS[np.clip(place[0], 0, 29), np.clip(place[1], 0, 39)]
    return found


@pytest.mark.parametrize("degrees", [0, 20, 90, -137])
def test_a_turned_box_is_cut_out_upright(degrees: float) -> None:
    corners = turned((21.3, 14.2), (12, 9), degrees)
    found = crop_box(PIXELS, corners)
    assert found.shape == (9, 12, 3)
    assert np.abs(found - slowly(corners, 12, 9)).max() <= 1.01


def test_beyond_the_image_it_is_black() -> None:
    corners = turned((2, 28), (12, 10), 0)
    found = crop_box(PIXELS, corners)
    assert np.array_equal(found[:7, 4:], PIXELS[23:30, 0:8])
    assert not found[7:].any()
    assert not found[:, :4].any()


def test_a_margin_widens_around_the_centre() -> None:
    corners = turned((20, 15), (10, 8), 30)
    assert widened(corners, 0.25) == pytest.approx(turned((20, 15), (15, 12), 30))
    assert widened(corners, 0) == pytest.approx(corners)


@pytest.mark.parametrize(
    "corners", [turned((20, 15), (0.2, 9), 0), turned((60, 15), (9, 9), 0), turned((20, -9), (9, 9), 0)]
)
def test_an_empty_box_is_refused(corners: list[float]) -> None:
    with pytest.raises(DataError, match=r"the box \(.*\) is empty or outside the image of 40 x 30 pixels"):
        crop_box(PIXELS, corners)
