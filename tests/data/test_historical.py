import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from numclip_lightning.data.base import Label, read_labels
from numclip_lightning.data.historical import HistoricalDataModule, historical_fold
from numclip_lightning.errors import ConfigError, DataError
from support.fake_data import DECADES, make_historical, make_image
from support.places import DATALISTS, needs_lists

LISTS = DATALISTS / "hci"
SPLITS: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")


def decade_labels(per_decade: int) -> list[Label]:
    return [
        Label(
            f"./images/{decade}s_decade_{decade * 1000 + i:x}.jpg",
            (float(decade),),
            None,
            i + 1,
            Path(f"{decade}s.txt"),
        )
        for decade in DECADES
        for i in range(per_decade)
    ]


def names(labels: list[Label]) -> set[str]:
    return {label.path.rsplit("_", 1)[-1] for label in labels}


def test_protocol() -> None:
    labels = decade_labels(265)
    splits = historical_fold(labels, fold=0, seed=0)
    for split, count in (("train", 210), ("val", 5), ("test", 50)):
        assert Counter(label.target for label in splits[split]) == dict.fromkeys(map(float, DECADES), count)  # type: ignore[index]
    assert set().union(*(names(splits[split]) for split in SPLITS)) == names(labels)
    assert sum(len(splits[split]) for split in SPLITS) == len(labels)


def test_folds_differ_and_do_not_depend_on_order_or_spelling() -> None:
    labels = decade_labels(53)
    splits = historical_fold(labels, fold=3, seed=7)
    other_names = [
        replace(label, path=label.path.replace("./images/", "").replace("_decade_", "_")) for label in labels
    ]
    again = historical_fold(random.Random(0).sample(other_names, len(labels)), fold=3, seed=7)
    assert all(names(splits[split]) == names(again[split]) for split in SPLITS)
    tests = [frozenset(names(historical_fold(labels, fold, seed=7)["test"])) for fold in range(10)]
    assert len(set(tests)) == 10
    assert names(historical_fold(labels, fold=3, seed=8)["test"]) != names(splits["test"])


@pytest.mark.parametrize(("size", "expected"), [(3, (1, 1, 1)), (53, (42, 1, 10)), (530, (420, 10, 100))])
def test_other_sizes_keep_the_proportions(size: int, expected: tuple[int, int, int]) -> None:
    splits = historical_fold(decade_labels(size), fold=0, seed=0)
    assert tuple(len(splits[split]) / 5 for split in SPLITS) == expected
    with pytest.raises(DataError, match="the value 1930 has 2 images"):
        historical_fold(decade_labels(2), fold=0, seed=0)


def test_from_lists(tmp_path: Path) -> None:
    make_historical(tmp_path, per_decade=6)
    data = HistoricalDataModule(root=str(tmp_path), num_workers=0, image_size=8)
    data.setup("fit")
    data.setup("test")
    assert data.summary().count("(targets 1930..1970)") == 3
    assert [len(data.labels(split)) for split in SPLITS] == [20, 5, 5]
    (tmp_path / "1950s.txt").unlink()
    with pytest.raises(DataError, match="the decades 1950s are missing in"):
        HistoricalDataModule(root=str(tmp_path)).setup("fit")


@pytest.mark.parametrize("folder", [".", "HistoricalColor-ECCV2012/data/imgs/decade_database"])
def test_from_folders(tmp_path: Path, folder: str) -> None:
    make_historical(tmp_path / "made", per_decade=6)
    for image in (tmp_path / "made" / "images").iterdir():
        decade, _, key = image.name.split("_")
        place = tmp_path / "root" / folder / decade / f"{decade}_{key}"
        place.parent.mkdir(parents=True, exist_ok=True)
        image.rename(place)
    from_lists = HistoricalDataModule(root=str(tmp_path / "made"), fold=4)
    from_folders = HistoricalDataModule(root=str(tmp_path / "root"), fold=4, num_workers=0, image_size=8)
    from_folders.setup("fit")
    for split in SPLITS:
        assert names(list(from_folders.labels(split))) == names(list(from_lists.labels(split)))
        assert from_folders.labels(split).targets == from_lists.labels(split).targets


def test_a_list_with_images_of_another_decade_is_refused(tmp_path: Path) -> None:
    make_historical(tmp_path)
    lines = (tmp_path / "1940s.txt").read_text().splitlines()
    (tmp_path / "1940s.txt").write_text("\n".join([*lines[:2], lines[2].replace(" 1940s", " 1930s"), *lines[3:]]))
    message = r"1940s\.txt:3: '\./images/1940s_.*' is labelled 1930 in the list of the 1940s; correct the line, or move"
    with pytest.raises(DataError, match=message):
        HistoricalDataModule(root=str(tmp_path)).setup("fit")
    for decade in DECADES[:-1]:
        make_image(tmp_path / "folders" / f"{decade}s" / "a.jpg")
    (tmp_path / "folders" / "1970s").mkdir()
    with pytest.raises(DataError, match="1970s has no image; put those of the 1970s there, all five"):
        HistoricalDataModule(root=str(tmp_path / "folders")).setup("fit")


def test_explicit_files_alone_count(tmp_path: Path) -> None:
    make_historical(tmp_path)
    data = HistoricalDataModule(root=str(tmp_path), train_file="1930s.txt", val_file="1940s.txt")
    assert set(data.labels("train").targets) == {1930.0}
    data.setup("fit")
    with pytest.raises(DataError, match=r"there is no test list; give test_file, or put the lists 1930s\.txt"):
        data.setup("test")


def test_bad_arguments(tmp_path: Path) -> None:
    for fold in (-1, 10):
        with pytest.raises(ConfigError, match=f"fold={fold} doesn't exist; choose 0 to 9"):
            HistoricalDataModule(fold=fold)
    with pytest.raises(DataError, match="there is no train list; give train_file, or put the lists"):
        HistoricalDataModule(root=str(tmp_path)).setup("fit")


@needs_lists
def test_real_lists() -> None:
    every = {label.path for decade in DECADES for label in read_labels(LISTS / f"{decade}s.txt")}
    tests = set()
    for fold in range(10):
        data = HistoricalDataModule(root=str(LISTS), fold=fold, check_images="none")
        for split, count in zip(SPLITS, (210, 5, 50), strict=True):
            assert Counter(data.labels(split).targets) == dict.fromkeys(map(float, DECADES), count)
        used = [label.path for split in SPLITS for label in data.labels(split)]
        assert len(used) == len(every)
        assert set(used) == every
        tests.add(frozenset(label.path for label in data.labels("test")))
    assert len(tests) == 10


@needs_lists
def test_real_lists_with_images(tmp_path: Path) -> None:
    image = make_image(tmp_path / "one.jpg", size=(8, 8))
    (tmp_path / "images").mkdir()
    for decade in DECADES:
        lines = (LISTS / f"{decade}s.txt").read_text()
        (tmp_path / f"{decade}s.txt").write_text(lines)
        for line in lines.split("\n"):
            if line:
                (tmp_path / line.split()[0]).hardlink_to(image)
    data = HistoricalDataModule(root=str(tmp_path), fold=3, num_workers=0, image_size=8, batch_size=1050)
    data.setup("fit")
    (batch,) = data.train_dataloader()
    assert batch["image"].shape == (1050, 3, 8, 8)
    assert Counter(batch["target"].tolist()) == dict.fromkeys(map(float, DECADES), 210)
