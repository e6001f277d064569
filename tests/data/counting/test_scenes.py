import hashlib
import json
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import pytest
import torch

from measure_mini import control
from numclip_lightning.data.counting.datamodule import CountingDataModule, draw
from numclip_lightning.data.counting.scenes import LARGEST, SIDE, Scene, Stream, draw_counts, make_scenes, paint
from numclip_lightning.data.counting.stamps import FULL, SHAPES, TURNS, stamp


def some_scenes(number: int, *, seed: int = 0, stream: Stream = "train") -> list[Scene]:
    return list(make_scenes(seed, stream, range(number), draw_counts(seed, stream, number)))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def ink(scene: Scene) -> float:
    """The area of all things together, in pixels."""
    return sum(thing.side**2 for thing in scene.shapes[-scene.facts.count :]) / 16


# The same on every machine


def test_scenes_are_pinned() -> None:
    """Whatever the machine and its libraries: if this fails, published counts and weights no longer fit the scenes."""
    scenes = some_scenes(200)
    written = json.dumps(
        [[asdict(scene.facts), scene.shapes, scene.ground, scene.slope, scene.grain] for scene in scenes]
    )
    assert digest(written.encode()) == "a45d3a1fc80ea93d"
    assert digest(np.stack([paint(scene) for scene in scenes]).tobytes()) == "e9421f3aa6079cd1"


def test_a_scene_depends_on_seed_stream_and_number_alone() -> None:
    whole = [paint(scene) for scene in some_scenes(30)]
    counts = draw_counts(0, "train", 30)
    chosen = [3, 4, 17, 29]
    for number, scene in zip(chosen, make_scenes(0, "train", chosen, counts[chosen]), strict=True):
        np.testing.assert_array_equal(paint(scene), whole[number])
    np.testing.assert_array_equal(draw_counts(0, "train", 7), counts[:7])


def test_streams_and_seeds_share_no_scene() -> None:
    streams: tuple[Stream, ...] = ("train", "val", "test", "pretrain")
    drawn = [
        paint(scene).tobytes()
        for seed in (0, 1)
        for stream in streams
        for scene in some_scenes(40, seed=seed, stream=stream)
    ]
    assert len(set(drawn)) == len(drawn)


# Counts


def test_counts_are_even_in_the_logarithm() -> None:
    counts = draw_counts(5, "train", 60_000)
    share = np.bincount(counts, minlength=LARGEST + 1)[1:] / len(counts)
    weights = 1 / np.arange(1, LARGEST + 1)
    expected = weights / weights.sum()
    # Five standard deviations of a binomial share.
    assert (abs(share - expected) < 5 * np.sqrt(expected / len(counts))).all()
    assert (counts.min(), counts.max()) == (1, LARGEST)


def test_a_scene_has_as_many_things_as_its_count() -> None:
    for scene in some_scenes(300):
        things = [shape for shape in scene.shapes if shape.shape in SHAPES][-scene.facts.count :]
        assert len(scene.shapes) - scene.facts.count <= 10  # at most three blotches and seven strokes
        assert len(things) == scene.facts.count
        if scene.facts.shape:
            assert {thing.shape for thing in things} == {scene.facts.shape}
        assert sum(shape.shape == "stroke" for shape in scene.shapes) == scene.facts.strokes


def test_things_stay_inside_and_can_be_seen() -> None:
    """Painted without its grain, a scene changes in every thing's middle where nothing lies above it."""
    for scene in some_scenes(200):
        last = scene.shapes[-1]
        with_last = paint(scene).astype(int)
        shorter = Scene(scene.facts, scene.shapes[:-1], scene.ground, scene.slope, scene.grain, scene.noise)
        change = abs(with_last - paint(shorter)).max(axis=2)
        half = stamp(last.shape, last.side, last.turn, last.fade).shape[0] // 2
        assert half <= last.x <= SIDE - half or half > 23  # only what is larger than the part in use may stick out
        assert change.sum() > 0 or scene.facts.count > 1  # the same colour may lie on the same colour


# Only the things reveal the count


def test_ink_does_not_depend_on_the_count() -> None:
    scenes = some_scenes(3000)
    inks = np.array([ink(scene) for scene in scenes])
    counts = np.log([scene.facts.count for scene in scenes])
    assert abs(np.corrcoef(inks, counts)[0, 1]) < 0.05
    assert inks.min() > 340
    assert inks.max() < 1150
    strokes = [scene.facts.strokes for scene in scenes]
    assert abs(np.corrcoef(strokes, counts)[0, 1]) < 0.06


@pytest.mark.slow  # says nothing new while the scenes are the same
def test_regression_on_ink_and_brightness_does_as_badly_as_the_median() -> None:
    labels = CountingDataModule(seed=3, num_test=4500).labels("test")
    counts = torch.tensor(labels.targets).long()
    errors = control(draw(3, "test", labels), counts)
    assert errors["median"] > 9
    assert errors["linear"] > 0.95 * errors["median"]
    assert errors["boosted trees"] > 0.95 * errors["median"]


def test_the_control_regression_finds_a_count_that_ink_follows() -> None:
    counts = torch.tensor(draw_counts(0, "test", 900))
    pixels = torch.zeros(900, 64, 64, 3, dtype=torch.uint8)
    for image, count in zip(pixels, counts.tolist(), strict=True):
        image[: count // 4, :] = 255
    errors = control(pixels, counts)
    assert max(errors["linear"], errors["boosted trees"]) < 0.2 * errors["median"]


# Stamps


def polygon_area(mask: npt.NDArray[np.int16]) -> float:
    return float(mask.sum()) / FULL


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("turn", range(TURNS))
def test_stamps_have_their_area(shape: str, turn: int) -> None:
    for side in (10, 24, 60, 132):
        mask = stamp(shape, side, turn)
        assert mask.shape[0] == mask.shape[1]
        assert mask.max() == FULL or side == 10
        assert polygon_area(mask) == pytest.approx((side / 4) ** 2, rel=0.13 if side < 30 else 0.04)


def test_stamps_have_their_shapes() -> None:
    square = stamp("square", 40, 0)[:, :, 0]
    assert (square == FULL).all()
    assert square.shape == (10, 10)
    circle = stamp("circle", 80, 0)[:, :, 0] / FULL
    y, x = np.mgrid[: len(circle), : len(circle)] + 0.5 - len(circle) / 2
    radius = 20 / np.sqrt(np.pi)
    assert (circle[np.hypot(x, y) < radius - 1] == 1).all()
    assert (circle[np.hypot(x, y) > radius + 1] == 0).all()
    np.testing.assert_array_equal(stamp("cross", 60, 0), np.rot90(stamp("cross", 60, 0)))
    np.testing.assert_allclose(stamp("star", 60, 0), stamp("star", 60, 0)[:, ::-1], atol=FULL // 16)
    upright = stamp("triangle", 60, 0)[:, :, 0].sum(axis=1)
    assert upright[2:6].sum() < upright[-10:-6].sum()  # the tip is up
    fading = stamp("square", 40, 0, 8)[:, :, 0]
    assert fading[0, 0] == FULL
    assert fading[-1, -1] == pytest.approx(FULL / 2, abs=3)
    assert stamp("circle", 90, 0, 15).min() >= 0
