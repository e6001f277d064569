import logging
from pathlib import Path

import pytest

from numclip_lightning.data.base import LabelTable
from numclip_lightning.data.utkface import UTKFaceDataModule
from numclip_lightning.errors import ConfigError, DataError
from support.fake_data import make_images, make_list_dataset, make_utkface

MALFORMED = ["61_3_20170109150557335.jpg.chip.jpg", "39_1_20170116174525125.jpg", "53__0_20170116184028385.jpg"]


def paths(table: LabelTable) -> set[str]:
    return {label.path for label in table}


def test_ages_from_names(tmp_path: Path) -> None:
    make_utkface(tmp_path, 40)
    data = UTKFaceDataModule(root=str(tmp_path), num_workers=0, image_size=8)
    data.setup("fit")
    data.setup("test")
    train, val, test = data.labels("train"), data.labels("val"), data.labels("test")
    assert (len(train), len(val), len(test)) == (29, 3, 8)
    assert all(label.path.startswith(f"{label.target:g}_") for label in (*train, *val, *test))
    assert len(paths(train) | paths(val) | paths(test)) == 40
    assert paths(UTKFaceDataModule(root=str(tmp_path)).labels("test")) == paths(test)
    assert len(UTKFaceDataModule(root=str(tmp_path), test_fraction=0.5).labels("test")) == 20


def test_names_that_are_malformed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_images(tmp_path / "images", [*MALFORMED, "116_1_0_20170109150557335.jpg", "IMG_1234.jpg", "31.jpg"])
    with caplog.at_level(logging.WARNING):
        data = UTKFaceDataModule(root=str(tmp_path), num_workers=0, image_size=8)
        data.setup("fit")
        data.setup("test")
    assert "2 of 6 images skipped, their names have no age" in caplog.text
    splits = [data.labels(split) for split in ("train", "val", "test")]
    assert sorted(target for table in splits for target in table.targets) == [39.0, 53.0, 61.0, 116.0]
    assert splits[2][0].where == str(tmp_path / splits[2][0].path)


def test_age_range(tmp_path: Path) -> None:
    make_utkface(tmp_path, 60, values=(1, 20, 21, 40, 60, 61))
    data = UTKFaceDataModule(root=str(tmp_path), min_age=21, max_age=60)
    tables = [data.labels(split) for split in ("train", "val", "test")]
    assert {target for table in tables for target in table.targets} == {21.0, 40.0, 60.0}
    assert sum(map(len, tables)) == 30
    with pytest.raises(DataError, match="none of 60 faces has min_age=100 to max_age=None; widen the range"):
        UTKFaceDataModule(root=str(tmp_path), min_age=100).setup("fit")


def test_the_subset_of_the_papers(tmp_path: Path) -> None:
    make_utkface(tmp_path, 60, values=(1, 20, 21, 40, 60, 61))
    subset = UTKFaceDataModule(root=str(tmp_path), subset="21-60")
    by_hand = UTKFaceDataModule(root=str(tmp_path), min_age=21, max_age=60)
    for split in ("train", "val", "test"):
        assert paths(subset.labels(split)) == paths(by_hand.labels(split))
    assert set(subset.labels("train").targets) == {21.0, 40.0, 60.0}
    with pytest.raises(ConfigError, match="subset='21-60' sets the ages; leave out min_age=18 and max_age=None"):
        UTKFaceDataModule(subset="21-60", min_age=18)
    with pytest.raises(ConfigError, match="subset is '20-60'; choose one of 'full', '21-60'"):
        UTKFaceDataModule(subset="20-60")  # type: ignore[arg-type]
    make_utkface(tmp_path / "babies", 5, values=(1,))
    with pytest.raises(DataError, match="none of 5 faces has min_age=21 to max_age=60; widen the range"):
        UTKFaceDataModule(root=str(tmp_path / "babies"), subset="21-60").setup("fit")


def test_list_files_alone_count(tmp_path: Path) -> None:
    make_utkface(tmp_path, 20)
    make_list_dataset(tmp_path, 20, name="mine.txt")
    data = UTKFaceDataModule(root=str(tmp_path), train_file="mine.txt", min_age=15)
    assert len(data.labels("train")) + len(data.labels("val")) == 10
    message = "there is no test list; give test_file, or put images named like 31_0_2_20170104.jpg into"
    with pytest.raises(DataError, match=message):
        data.setup("test")
    (tmp_path / "new.txt").write_text("mine_000.png\n")
    predict = UTKFaceDataModule(root=str(tmp_path), predict_path="new.txt", min_age=15)
    assert len(predict.labels("predict")) == 1


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="min_age=60 is above max_age=21"):
        UTKFaceDataModule(min_age=60, max_age=21)
    with pytest.raises(ConfigError, match="test_fraction=0 must be between 0 and 1"):
        UTKFaceDataModule(test_fraction=0)
    make_images(tmp_path, ["IMG_1234.jpg"])
    with pytest.raises(DataError, match="there is no train list; give train_file, or put images named like"):
        UTKFaceDataModule(root=str(tmp_path)).setup("fit")
