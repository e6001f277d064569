"""Pictures of maps: colours, sizes, and what they stand for."""

import numpy as np
import pytest
from PIL import Image

from numclip_lightning.errors import ConfigError
from numclip_lightning.images.heat import colour, heat_of, heat_picture


def test_colours_run_from_dark_to_bright_and_from_blue_over_white_to_red() -> None:
    assert colour([0, 1]).tolist() == [[68, 1, 84], [253, 231, 37]]
    brightness = colour(np.linspace(0, 1, 50)).astype(int).sum(axis=1)
    assert (np.diff(brightness) >= 0).all()
    less, nothing, more = colour([0, 0.5, 1], "changes").astype(int)
    assert less[2] > less[0]
    assert more[0] > more[2]
    assert nothing.tolist() == [247, 247, 247]
    assert colour([np.nan, 2.0]).tolist() == [[128, 128, 128], [253, 231, 37]]


def test_a_picture_shows_the_image_the_map_and_its_scale() -> None:
    pixels = np.full((64, 96, 3), 100, dtype=np.uint8)
    picture = heat_picture(pixels, np.array([[-2.0, 1.0]]), "changes", "years")
    side = 64 * 4
    assert picture.size == (2 * 96 * 4 + 8, side + 34)
    found = np.asarray(picture).astype(int)
    assert (found[:side, : 96 * 4] == 100).all()
    left, right = found[side // 2, 96 * 4 + 20], found[side // 2, -20]
    assert left[2] > left[0]
    assert right[0] > right[2]
    # Equal numbers are the middle of the scale.
    flat = np.asarray(heat_picture(pixels, np.ones((2, 2))))
    assert len(np.unique(flat[:side, 96 * 4 + 8 :].reshape(-1, 3), axis=0)) == 1


def test_the_map_alone_is_cut_out_of_a_picture() -> None:
    pixels = np.full((64, 96, 3), 100, dtype=np.uint8)
    picture = heat_picture(pixels, [[0.0, 1.0]])
    alone = np.asarray(heat_of(picture)).astype(int)
    assert alone.shape == (64 * 4, 96 * 4, 3)
    # 60 % of the colour over the grey image; the left edge has the least, the right edge the largest number.
    for place, ends in ((0, [68, 1, 84]), (-1, [253, 231, 37])):
        assert alone[:, place] == pytest.approx(np.broadcast_to(0.6 * np.array(ends) + 40, (256, 3)), abs=1.5)
    flat = np.asarray(heat_of(heat_picture(pixels, [[0.0, 1.0]], least=100.0))).astype(int)
    assert np.abs(flat[:, 0] - flat[:, -1]).max() <= 3
    with pytest.raises(ConfigError, match="is no map"):
        heat_of(Image.new("RGB", (40, 40)))


def test_a_map_without_places_is_refused() -> None:
    with pytest.raises(ConfigError, match="rows and columns"):
        heat_picture(np.zeros((4, 4, 3), dtype=np.uint8), np.zeros(3))
