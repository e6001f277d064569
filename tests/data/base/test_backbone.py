"""Images follow the backbone unless size or normalisation are given."""

from pathlib import Path

import pytest
import torch

from numclip_lightning.data.base import OrdinalDataModule
from numclip_lightning.data.counting import CountingDataModule
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.errors import ConfigError
from numclip_lightning.images.transforms import NORMALIZATIONS
from support.fake_data import make_list_dataset

HALF = (0.5, 0.5, 0.5)


def image_of(data: OrdinalDataModule) -> torch.Tensor:
    image: torch.Tensor = next(iter(data.train_dataloader()))["image"]
    return image


@pytest.mark.parametrize(
    ("options", "side", "stats"),
    [
        ({}, 48, NORMALIZATIONS["half"]),
        ({"image_size": 32}, 32, NORMALIZATIONS["half"]),
        ({"normalize": "clip"}, 48, NORMALIZATIONS["clip"]),
        ({"preprocess": "published"}, 48, NORMALIZATIONS["imagenet"]),
        ({"preprocess": "published", "normalize": "clip"}, 48, NORMALIZATIONS["clip"]),
        ({"preprocess": "published", "normalize": "backbone"}, 48, NORMALIZATIONS["half"]),
        ({"normalize": "backbone"}, 48, NORMALIZATIONS["half"]),
    ],
)
def test_what_is_not_given_follows(options: dict[str, str | int], side: int, stats: object, tmp_path: Path) -> None:
    make_list_dataset(tmp_path, 12)
    data = ListDataModule(root=str(tmp_path), train_file="list.txt", num_workers=0, **options)  # type: ignore[arg-type]
    data.follow_backbone(48, HALF, HALF)
    assert (data.side, data.normalization) == (side, stats)
    assert image_of(data).shape[-2:] == (side, side)


def test_without_a_backbone(tmp_path: Path) -> None:
    make_list_dataset(tmp_path, 12)
    data = ListDataModule(root=str(tmp_path), train_file="list.txt", num_workers=0)
    assert (data.side, data.normalization) == (224, NORMALIZATIONS["clip"])
    assert image_of(data).shape[-1] == 224


def test_generated_scenes_follow_too() -> None:
    data = CountingDataModule(num_train=4, batch_size=4, augment=False)
    assert image_of(data).shape[-1] == data.side == 64
    data.follow_backbone(32, HALF, HALF)
    assert image_of(data).shape[-1] == 32
    assert image_of(data).abs().max() <= 1.5  # bicubic overshoots


def test_bad_names() -> None:
    with pytest.raises(ConfigError, match=r"normalize is 'image'; choose one of 'clip', .*, 'unit', 'backbone'"):
        ListDataModule(normalize="image")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="image_size=0 must be at least 1"):
        ListDataModule(image_size=0)
