"""What is drawn from a pool by which seed, and where the pool is looked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from numclip_lightning.data.aesthetics import AestheticsDataModule
from numclip_lightning.data.base import FileDataModule
from numclip_lightning.data.base.types import Split
from numclip_lightning.data.fgnet import FGNETDataModule
from numclip_lightning.data.historical import HistoricalDataModule
from numclip_lightning.data.retina import RetinaDataModule
from numclip_lightning.data.utkface import UTKFaceDataModule
from numclip_lightning.errors import DataError
from support.fake_data import make_aesthetics, make_fgnet, make_historical, make_images, make_retina, make_utkface


def make_large_historical(root: Path) -> None:
    make_historical(root, per_decade=60)


def make_large_aesthetics(root: Path) -> None:
    make_aesthetics(root, train=80, test=40)


def make_large_fgnet(root: Path) -> None:
    make_fgnet(root, persons=30, images=4)


Maker = Callable[[Path], None]
# Whether the validation part belongs to the fold, or is set aside from the rest.
CASES: list[tuple[type[FileDataModule], Maker, dict[str, Any], bool]] = [
    (HistoricalDataModule, make_large_historical, {}, True),
    (AestheticsDataModule, make_large_aesthetics, {"fold": 2}, True),
    (FGNETDataModule, make_large_fgnet, {"fold": None}, False),
    (UTKFaceDataModule, make_utkface, {}, False),
    (RetinaDataModule, lambda root: make_retina(root, 60), {}, False),
]
each_case = pytest.mark.parametrize(("kind", "make", "options", "of_fold"), CASES)


@each_case
def test_the_seed_does_not_change_the_test_part(
    tmp_path: Path, kind: type[FileDataModule], make: Maker, options: dict[str, Any], of_fold: bool
) -> None:
    make(tmp_path)

    def paths(split: Split, **drawn: Any) -> set[str]:
        return {label.path for label in kind(root=str(tmp_path), **options, **drawn).labels(split)}

    assert paths("test", seed=1) == paths("test")
    assert paths("test", split_seed=1) != paths("test")
    assert (paths("val", seed=1) == paths("val")) == of_fold
    assert paths("train", seed=1, num_shots=1) != paths("train", num_shots=1)
    parts = [paths(split, seed=1, split_seed=2) for split in ("train", "val", "test")]
    assert len(set.union(*parts)) == sum(map(len, parts))


def test_published_lists_are_not_drawn(tmp_path: Path) -> None:
    make_aesthetics(tmp_path)
    one, other = (AestheticsDataModule(root=str(tmp_path), split_seed=seed) for seed in (0, 1))
    for split in ("train", "val", "test"):
        assert [label.path for label in one.labels(split)] == [label.path for label in other.labels(split)]


def test_an_image_without_an_age_hides_no_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_utkface(tmp_path / "images", 20)
    make_images(tmp_path, ["banner.png"])
    data = UTKFaceDataModule(root=str(tmp_path), check_images="none")
    assert sum(len(data.labels(split)) for split in ("train", "val", "test")) == 20
    assert f"{tmp_path}: 1 of 1 images skipped, their names have no age" in caplog.text
    make_images(tmp_path / "other", ["banner.png"])
    with pytest.raises(DataError, match="there is no train list"):
        UTKFaceDataModule(root=str(tmp_path / "other")).setup("fit")
