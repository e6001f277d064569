"""One list with a column of splits."""

from pathlib import Path
from typing import Any

import pytest

from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.errors import ConfigError, DataError

WORDS = ("Train", "valid", "test", "training", "dev", "testing", "train")


def module(folder: Path, words: tuple[str, ...] = WORDS, **options: Any) -> ListDataModule:
    rows = [f"{i}.png,{i},{word}" for i, word in enumerate(words)]
    (folder / "all.csv").write_text("\n".join(["path,score,Part", *rows]), encoding="utf-8")
    return ListDataModule(root=str(folder), train_file="all.csv", split_column="Part", check_images="none", **options)


def test_each_image_is_in_its_split(tmp_path: Path) -> None:
    data = module(tmp_path)
    assert {split: data.labels(split).targets for split in ("train", "val", "test")} == {
        "train": (0.0, 3.0, 6.0), "val": (1.0, 4.0), "test": (2.0, 5.0),
    }  # fmt: skip


def test_without_validation_images_a_part_of_the_others_is_set_aside(tmp_path: Path) -> None:
    data = module(tmp_path, ("train",) * 10 + ("test",))
    assert (len(data.labels("train")), len(data.labels("val")), len(data.labels("test"))) == (9, 1, 1)


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"all\.csv:3: 'extra' in the column 'Part' is no split; write train"):
        module(tmp_path, ("train", "extra")).labels("train")
    with pytest.raises(DataError, match="there is no test list"):
        module(tmp_path, ("train", "val")).labels("test")
    with pytest.raises(ConfigError, match="takes all splits from train_file; leave val_file, test_file"):
        module(tmp_path, test_file="x.csv")
    with pytest.raises(ConfigError, match="needs train_file"):
        ListDataModule(split_column="Part")
    with pytest.raises(DataError, match="has no column 'cut'"):
        ListDataModule(root=str(tmp_path), train_file="all.csv", split_column="cut").labels("train")
