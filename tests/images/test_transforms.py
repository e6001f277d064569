import inspect
import os
import random
import subprocess
import sys
from pathlib import Path

import cv2
import lightning as L
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor

from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.errors import ConfigError
from numclip_lightning.images import corruptions
from numclip_lightning.images.transforms import NORMALIZATIONS, Preprocess, build_transform
from support.fake_data import make_list_dataset

CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def ramp(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Red grows from left to right, green from top to bottom."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([red, green, np.full_like(red, 64)], axis=2).round().astype(np.uint8)


def pixels_of(image: Tensor, stats: tuple[tuple[float, ...], tuple[float, ...]]) -> npt.NDArray[np.float64]:
    """Undo the normalisation: (H, W, 3) in 0..255."""
    mean, std = (np.array(values) for values in stats)
    return np.asarray((image.numpy().transpose(1, 2, 0) * std + mean) * 255)


@pytest.mark.parametrize(("preprocess", "stats"), [("clip", CLIP), ("published", IMAGENET)])
@pytest.mark.parametrize("train", [False, True])
def test_normalised_tensor(
    preprocess: Preprocess, stats: tuple[tuple[float, ...], tuple[float, ...]], train: bool
) -> None:
    colour = np.array([10, 130, 250], dtype=np.uint8)
    image = build_transform(32, preprocess, train=train)(np.tile(colour, (50, 40, 1)))
    assert image.shape == (3, 32, 32)
    assert image.dtype == torch.float32
    np.testing.assert_allclose(pixels_of(image, stats), np.tile(colour, (32, 32, 1)), atol=1e-3)


def test_clip_evaluation_keeps_the_aspect_and_the_centre() -> None:
    image = pixels_of(build_transform(32, "clip", train=False)(ramp(64, 128)), CLIP)
    # Of 128 columns the middle 64 are left, that is red from 1/4 to 3/4; all rows stay.
    assert image[:, 0, 0].mean() == pytest.approx(255 * 0.25, abs=4)
    assert image[:, -1, 0].mean() == pytest.approx(255 * 0.75, abs=4)
    assert image[0, :, 1].mean() == pytest.approx(0, abs=4)
    assert image[-1, :, 1].mean() == pytest.approx(255, abs=4)


def test_published_evaluation_ignores_the_aspect() -> None:
    image = pixels_of(build_transform(224, "published", train=False)(ramp(300, 600)), IMAGENET)
    # 256 x 256, of which the middle 224 are left: 1/16 is cut off on every side.
    for edge, expected in ((image[:, 0, 0], 1 / 16), (image[:, -1, 0], 15 / 16), (image[0, :, 1], 1 / 16)):
        assert edge.mean() == pytest.approx(255 * expected, abs=2)


@pytest.mark.parametrize("train", [False, True])
def test_whole_images_lose_nothing(train: bool) -> None:
    transform, whole = build_transform(32, "whole", train=train), ramp(64, 128)
    expected = np.array(Image.fromarray(whole).resize((32, 32), Image.Resampling.BILINEAR))
    for seed in range(4):
        torch.manual_seed(seed)
        image = pixels_of(transform(whole), CLIP).round()
        assert any(np.array_equal(image, side) for side in ((expected, expected[:, ::-1]) if train else (expected,)))
        np.testing.assert_array_equal(transform.prepare(whole), expected)


@pytest.mark.parametrize("preprocess", ["clip", "published"])
@pytest.mark.parametrize("train", [False, True])
def test_shrinking_does_not_alias(preprocess: Preprocess, train: bool) -> None:
    checks = np.indices((640, 640)).sum(axis=0) % 2 * 255
    stripes = np.tile(np.arange(640) // 3 % 2 * 255, (640, 1))
    panorama = np.tile(np.arange(640) % 2 * 255, (40, 1))
    # Only the published way resizes each side by itself.
    for pattern in (checks, stripes, *([panorama] if preprocess == "published" else [])):
        pixels = np.repeat(pattern[..., None], 3, axis=2).astype(np.uint8)
        image = build_transform(64, preprocess, train=train)(pixels)
        grey = pixels_of(image, CLIP if preprocess == "clip" else IMAGENET)
        assert abs(grey - 127.5).max() < 50


def test_training_draws_from_torch_alone() -> None:
    transform, pixels = build_transform(32, "clip", train=True), ramp(64, 64)
    torch.manual_seed(0)
    first, second = transform(pixels), transform(pixels)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(build_transform(32, "clip", train=True)(pixels), first)


def test_evaluation_leaves_torch_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(())
    torch.manual_seed(0)
    build_transform(32, "clip", train=False)(ramp(64, 64))
    assert torch.rand(()) == expected


@pytest.mark.parametrize(("preprocess", "stats"), [("clip", CLIP), ("published", IMAGENET)])
def test_flip_does_not_depend_on_the_crop(
    preprocess: Preprocess, stats: tuple[tuple[float, ...], tuple[float, ...]]
) -> None:
    """With equal generators for all steps the crop would tell the flip; the mean of green tells the crop's height."""
    torch.manual_seed(0)
    transform = build_transform(32, preprocess, train=True)
    images = [pixels_of(transform(ramp(64, 64)), stats) for _ in range(400)]
    flipped = np.array([image[:, 0, 0].mean() > image[:, -1, 0].mean() for image in images])
    tops = np.array([image[0, :, 1].mean() for image in images])
    spans = np.array([image[-1, :, 1].mean() - image[0, :, 1].mean() for image in images])
    lefts = np.array([image[..., 0].mean() for image in images])
    assert 0.4 < flipped.mean() < 0.6
    for crop in (tops, spans, lefts):
        if crop.std() > 1:
            assert abs(np.corrcoef(flipped, crop)[0, 1]) < 0.2
    assert tops.std() > 1


def test_training_crops_wide_photographs_anywhere() -> None:
    torch.manual_seed(0)
    transform = build_transform(32, "clip", train=True)
    reds = [pixels_of(transform(ramp(64, 192)), CLIP)[..., 0].mean() / 255 for _ in range(200)]
    assert min(reds) < 0.25
    assert max(reds) > 0.75


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_are_reproducible_and_every_epoch_differs(tmp_path: Path, num_workers: int) -> None:
    make_list_dataset(tmp_path, 12, size=(100, 80))

    def two_epochs(seed: int) -> list[dict[int, Tensor]]:
        L.seed_everything(seed, workers=True, verbose=False)
        data = ListDataModule(
            root=str(tmp_path), train_file="list.txt", batch_size=2, image_size=64, num_workers=num_workers
        )
        loader = data.train_dataloader()
        return [
            {int(i): image for batch in loader for i, image in zip(batch["index"], batch["image"], strict=True)}
            for _ in range(2)
        ]

    first, again, other = two_epochs(1), two_epochs(1), two_epochs(2)
    assert first[0].keys() == first[1].keys() == set(range(11))
    for epoch in range(2):
        assert list(first[epoch]) == list(again[epoch])
        assert all(torch.equal(first[epoch][i], again[epoch][i]) for i in first[epoch])
        assert sum(torch.equal(first[epoch][i], other[epoch][i]) for i in first[epoch]) < 4  # crops may coincide
    assert sum(torch.equal(first[0][i], first[1][i]) for i in first[0]) < 4


def test_a_loop_that_asks_for_a_loader_in_every_epoch_sees_other_crops(tmp_path: Path) -> None:
    make_list_dataset(tmp_path, 12, size=(100, 80))
    data = ListDataModule(root=str(tmp_path), train_file="list.txt", batch_size=11, image_size=64, num_workers=0)
    (first,) = data.train_dataloader()
    (second,) = data.train_dataloader()
    assert first["index"].tolist() != second["index"].tolist()
    assert sorted(first["index"].tolist()) == sorted(second["index"].tolist())


def test_workers_draw_differently() -> None:
    pixels = ramp(100, 160)
    transform = build_transform(64, "clip", train=True)

    class Same(torch.utils.data.Dataset[Tensor]):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> Tensor:
            return transform(pixels)

    torch.manual_seed(0)
    images = [image for batch in torch.utils.data.DataLoader(Same(), num_workers=2) for image in batch]
    assert len({image.numpy().tobytes() for image in images}) >= 7


def test_bad_arguments() -> None:
    with pytest.raises(ConfigError, match="image_size=0 must be at least 1"):
        build_transform(0, "clip", train=False)
    with pytest.raises(ConfigError, match="preprocess is 'paper'; choose one of 'clip', 'published'"):
        build_transform(32, "paper", train=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(300, 400), (50, 32), (32, 40), (20, 70)])
@pytest.mark.parametrize("preprocess", ["clip", "published"])
@pytest.mark.parametrize("train", [False, True])
def test_images_equal_those_of_albumentations_bit_for_bit(
    size: tuple[int, int], preprocess: Preprocess, train: bool
) -> None:
    """Albumentations made them in earlier versions: what was trained then sees the same pixels now."""
    library = corruptions._albumentations()
    if preprocess == "clip" and "area_for_downscale" not in inspect.signature(library.SmallestMaxSize).parameters:
        pytest.skip("this albumentations does not average where it makes images smaller; we run with its earliest 2.0")

    class Squeeze(library.ImageOnlyTransform):  # type: ignore[misc, name-defined]
        def apply(self, img: npt.NDArray[np.uint8], **params: object) -> npt.NDArray[np.uint8]:
            return np.array(Image.fromarray(img).resize((37, 37), Image.Resampling.BILINEAR))

    sides = list(range(32, 37)) if train else 32
    shortest = library.SmallestMaxSize(max_size=sides, interpolation=cv2.INTER_CUBIC, area_for_downscale="image")
    steps = [shortest if preprocess == "clip" else Squeeze(p=1)]
    steps += [library.RandomCrop(32, 32), library.HorizontalFlip(p=0.5)] if train else [library.CenterCrop(32, 32)]
    pipeline = library.Compose([*steps, library.Normalize(*(CLIP if preprocess == "clip" else IMAGENET))])
    transform = build_transform(32, preprocess, train=train)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for seed in range(8):
        torch.manual_seed(seed)
        image = transform(pixels)
        torch.manual_seed(seed)
        drawn = int(torch.randint(2**62, ()))
        pipeline.set_random_state(np.random.default_rng(drawn), random.Random(drawn))
        np.testing.assert_array_equal(image.numpy().transpose(1, 2, 0), pipeline(image=pixels)["image"])


def test_the_import_uses_no_network_and_leaves_the_environment_alone() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    code = (
        "import os, urllib.request as r\n"
        "r.OpenerDirector.open = lambda *a, **k: exit('the network is used')\n"
        "before = dict(os.environ)\n"
        "import numpy as np\n"
        "from numclip_lightning.images.corruptions import Corruption\n"
        "Corruption('blur', 1)(np.zeros((8, 8, 3), np.uint8), 0)\n"
        "import sys; assert 'albumentations' in sys.modules\n"
        "changed = {key for key in os.environ if os.environ[key] != before.get(key)}\n"
        "assert not [key for key in changed if 'ALBUMENTATIONS' in key], changed"
    )
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


@pytest.mark.parametrize("size", [(300, 600), (1000, 700), (100, 90), (40, 640)])
def test_published_resizing_equals_pillows_to_the_last_grey_level(size: tuple[int, int]) -> None:
    """The published code resizes a PIL image to 256 x 256 by torchvision's `Resize`, which is Pillow's bilinear."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = np.array(Image.fromarray(pixels).resize((256, 256), Image.Resampling.BILINEAR))[16:240, 16:240]
    image = build_transform(224, "published", train=False)(pixels)
    np.testing.assert_array_equal(pixels_of(image, IMAGENET).round(), expected)


def test_normalization_can_be_given() -> None:
    grey = np.full((8, 8, 3), 255, dtype=np.uint8)
    names: tuple[Preprocess, ...] = ("clip", "published")
    for preprocess in names:
        image = build_transform(8, preprocess, train=False, normalization=NORMALIZATIONS["half"])(grey)
        torch.testing.assert_close(image, torch.ones(3, 8, 8))
