"""Corruptions of images: stronger ones change more, each in its own way, the same in every run."""

import numpy as np
import pytest

from numclip_lightning.errors import ConfigError
from numclip_lightning.images.corruptions import KINDS, STRENGTHS, Corruption, parse_corruptions


def scene(seed: int = 0) -> np.ndarray:
    """A picture with some grain and a square, 64 x 64."""
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    grain = np.random.default_rng(0).normal(0, 6, (64, 64, 1))
    pixels[:] = np.linspace(60, 160, 64)[None, :, None] + grain
    pixels[20:40, 15 + seed : 35] = (200, 40, 90)
    return pixels


@pytest.mark.parametrize("kind", KINDS)
def test_a_stronger_corruption_changes_more(kind: str) -> None:
    pixels = scene()
    before = pixels.copy()
    found = [Corruption(kind, strength)(pixels, 7) for strength in STRENGTHS]  # type: ignore[arg-type]
    changes = [np.abs(one.astype(float) - pixels).mean() for one in found]
    assert changes == sorted(changes)
    assert changes[0] > 0.05
    assert changes[-1] > 1.2 * changes[0]
    assert all(one.shape == pixels.shape and one.dtype == np.uint8 for one in found)
    assert np.array_equal(pixels, before)
    assert Corruption(kind, 0)(pixels, 7) is pixels  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_random_depends_on_the_seed_alone(kind: str) -> None:
    corruption = Corruption(kind, 3)  # type: ignore[arg-type]
    once, again, other = corruption(scene(), 1), corruption(scene(), 1), corruption(scene(), 2)
    assert np.array_equal(once, again)
    assert np.array_equal(once, other) == (kind != "noise")


def test_each_kind_does_what_its_name_says() -> None:
    pixels = scene().astype(float)
    noise, blur, jpeg, bright, flat, coarse = (Corruption(kind, 3)(scene(), 0).astype(float) for kind in KINDS)
    assert (noise - pixels).std() == pytest.approx(0.18 * 255, rel=0.2)
    assert np.abs(np.diff(blur, axis=0)).max() < np.abs(np.diff(pixels, axis=0)).max() / 1.5
    assert np.abs(jpeg - pixels).max() > 3
    assert (bright - pixels)[:10].mean() == pytest.approx(0.3 * 255, abs=2)
    assert flat.std() == pytest.approx(0.2 * pixels.std(), rel=0.25)
    assert np.abs(np.diff(coarse, axis=1)).max() < np.abs(np.diff(pixels, axis=1)).max()


def test_words_of_the_command_line_are_read_or_refused() -> None:
    assert len(parse_corruptions("all")) == len(KINDS) * 5
    assert list(map(str, parse_corruptions("jpeg:2, noise:5,noise:1,jpeg:2"))) == ["noise:1", "noise:5", "jpeg:2"]
    assert [one.strength for one in parse_corruptions("blur")] == [1, 2, 3, 4, 5]
    for wrong in ("fog", "noise:6", "noise:0", "", "noise:x"):
        with pytest.raises(ConfigError, match="--corrupt has"):
            parse_corruptions(wrong)
