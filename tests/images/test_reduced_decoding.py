"""Large JPEGs that are decoded at a fraction of their size: nearly the pixels of whole ones, and never too few."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.errors import ConfigError
from numclip_lightning.images.loading import Reading, load_rgb
from numclip_lightning.images.transforms import build_transform


def photograph(file: Path, size: tuple[int, int], orientation: int = 1) -> Path:
    """Write colours that change over some pixels, as those of photographs, with some noise on them."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (size[1] // 20, size[0] // 20, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.int16) + rng.integers(
        -6, 7, (*size[::-1], 1)
    )
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(file, quality=92, exif=exif)
    return file


@pytest.mark.parametrize(("size", "orientation"), [((1000, 700), 1), ((700, 1400), 6), ((640, 640), 1)])
@pytest.mark.parametrize("preprocess", ["clip", "published"])
def test_pictures_are_equal_within_a_grey_level(
    tmp_path: Path, size: tuple[int, int], orientation: int, preprocess: str
) -> None:
    file = photograph(tmp_path / "a.jpg", size, orientation)
    transform = build_transform(64, preprocess, train=False)  # type: ignore[arg-type]
    whole, reduced = load_rgb(file), load_rgb(file, Reading(least_side=128))
    assert 128 <= min(reduced.shape[:2]) < min(whole.shape[:2])
    # The same side is up.
    assert (reduced.shape[0] > reduced.shape[1]) == (whole.shape[0] > whole.shape[1])
    difference = np.abs(transform.square(whole).astype(int) - transform.square(reduced))
    assert difference.mean() < 1
    assert difference.max() <= 8


@pytest.mark.parametrize(("preprocess", "size", "side"), [
    ("clip", (640, 480), 240), ("clip", (816, 612), 306), ("whole", (500, 460), 230), ("published", (640, 480), 480),
    ("published", (700, 520), 260), ("clip", (440, 400), 400),
])  # fmt: skip
def test_the_smallest_decoding_keeps_all_that_is_resized(
    tmp_path: Path, preprocess: Any, size: tuple[int, int], side: int
) -> None:
    file = photograph(tmp_path / "a.jpg", size)
    data = ListDataModule(root=str(tmp_path), test_file="list.txt", preprocess=preprocess, decode="smallest")
    whole, smallest = load_rgb(file), load_rgb(file, data.reading)
    assert min(smallest.shape[:2]) == side
    transform = build_transform(224, preprocess, train=False)
    difference = np.abs(transform.square(whole).astype(int) - transform.square(smallest))
    assert difference.mean() < 1
    assert np.quantile(difference, 0.99) <= 4
    assert difference.max() <= 20


def test_small_and_other_images_are_decoded_whole(tmp_path: Path) -> None:
    small = photograph(tmp_path / "a.jpg", (250, 200))
    np.testing.assert_array_equal(load_rgb(small, Reading(least_side=128)), load_rgb(small))
    large = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)).save(large)
    np.testing.assert_array_equal(load_rgb(large, Reading(least_side=20)), load_rgb(large))


def test_a_limit_of_pixels_comes_first(tmp_path: Path) -> None:
    file = photograph(tmp_path / "a.jpg", (1200, 800))
    limited = load_rgb(file, Reading(max_pixels=300_000))
    np.testing.assert_array_equal(load_rgb(file, Reading(max_pixels=300_000, least_side=60)), limited)


def test_a_dataset_decodes_as_it_is_asked_to(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg", (1000, 700))
    (tmp_path / "list.txt").write_text("a.jpg 3\n")
    arguments = {"root": str(tmp_path), "test_file": "list.txt", "image_size": 64}
    images = [ListDataModule(**arguments, decode=how).dataset("test")[0]["image"] for how in ("whole", "reduced")]  # type: ignore[arg-type]
    assert not images[0].equal(images[1])
    assert (images[0] - images[1]).abs().mean() < 0.02
    with pytest.raises(ConfigError, match="decode is 'half'; choose one of 'whole', 'reduced', 'smallest'"):
        ListDataModule(**arguments, decode="half")  # type: ignore[arg-type]
