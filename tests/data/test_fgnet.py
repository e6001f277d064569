import logging
from pathlib import Path

import pytest

from numclip_lightning.data.base import LabelTable
from numclip_lightning.data.fgnet import FGNETDataModule
from numclip_lightning.errors import ConfigError, DataError
from support.fake_data import make_fgnet, make_images


def persons(table: LabelTable) -> set[str | None]:
    return {label.group for label in table}


def test_one_person_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_fgnet(tmp_path / "images", persons=82, images=3)
    tested: list[str | None] = []
    for fold in range(82):
        data = FGNETDataModule(root=str(tmp_path), fold=fold, check_images="none")
        data.setup("fit")
        data.setup("test")
        train, val, test = data.labels("train"), data.labels("val"), data.labels("test")
        assert (len(train) + len(val), len(test)) == (243, 3)
        assert len(persons(train)) + len(persons(val)) == 81
        assert not persons(train) & persons(val)
        assert not persons(test) & (persons(train) | persons(val))
        tested += persons(test)
    assert "where FG-NET has 82" not in caplog.text
    assert tested == [f"{person:03d}" for person in range(1, 83)]


def test_without_a_fold_people_are_drawn(tmp_path: Path) -> None:
    make_fgnet(tmp_path / "FGNET" / "images", persons=30, images=4)
    data = FGNETDataModule(root=str(tmp_path), fold=None, num_workers=0, image_size=8)
    data.setup("fit")
    data.setup("test")
    tables = [data.labels(split) for split in ("train", "val", "test")]
    assert sum(map(len, tables)) == 120
    assert len(tables[2]) == 24
    assert sum(len(persons(table)) for table in tables) == 30


def test_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_images(tmp_path, ["001A02.JPG", "001A43a.JPG", "002a00b.jpg", "078A11.JPG", "Thumbs.jpg"])
    with caplog.at_level(logging.WARNING):
        test = FGNETDataModule(root=str(tmp_path), fold=0).labels("test")
    assert [(label.target, label.group) for label in test] == [(2.0, "001"), (43.0, "001")]
    assert "1 of 5 images skipped, their names have no age" in caplog.text
    assert f"{tmp_path} has 3 people, where FG-NET has 82: fold=0 is not the fold of that number in" in caplog.text
    data = FGNETDataModule(root=str(tmp_path), fold=1)
    assert [(label.target, label.group) for label in data.labels("test")] == [(0.0, "002")]


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fold=82 doesn't exist; choose 0 to 81"):
        FGNETDataModule(fold=82)
    with pytest.raises(ConfigError, match=r"test_fraction=1\.5 must be between 0 and 1"):
        FGNETDataModule(test_fraction=1.5)
    with pytest.raises(DataError, match=r"there is no test list; give test_file, or put images named like 078A11\.JPG"):
        FGNETDataModule(root=str(tmp_path)).setup("test")
    make_images(tmp_path, ["001A02.JPG", "002A02.JPG"])
    with pytest.raises(ConfigError, match="fold=7 doesn't exist among 2 groups; choose 0 to 1"):
        FGNETDataModule(root=str(tmp_path), fold=7).setup("test")
