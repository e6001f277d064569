from collections import Counter
from pathlib import Path
from typing import Literal

import pytest

from numclip_lightning.data.aesthetics import AestheticsDataModule
from numclip_lightning.errors import ConfigError, DataError
from support.fake_data import make_aesthetics, make_image
from support.places import DATALISTS, needs_lists

LISTS = DATALISTS / "crowdbeauty"


def test_published_layout(tmp_path: Path) -> None:
    make_aesthetics(tmp_path, "urban", train=32, test=10)
    data = AestheticsDataModule(root=str(tmp_path), category="urban", num_workers=0, image_size=8)
    data.setup("fit")
    data.setup("test")
    sizes = [len(data.labels(split)) for split in ("train", "val", "test")]
    assert sizes == [30, 2, 10]
    for file in (tmp_path / "labels").iterdir():
        file.rename(tmp_path / file.name)
    assert len(AestheticsDataModule(root=str(tmp_path), category="urban").labels("test")) == 10


def test_missing_lists(tmp_path: Path) -> None:
    message = "there is no train list; give train_file, or put people_train.txt into .* or its folder 'labels'"
    with pytest.raises(DataError, match=message):
        AestheticsDataModule(root=str(tmp_path)).setup("fit")
    with pytest.raises(ConfigError, match=r"category is 'peple'; choose one of .*did you mean 'people'"):
        AestheticsDataModule(category="peple")  # type: ignore[arg-type]


def test_published_test_list_is_guarded_though_only_a_training_list_is_given(tmp_path: Path) -> None:
    make_aesthetics(tmp_path)
    with pytest.raises(DataError, match="10 of 10 validation images are also in the test list"):
        AestheticsDataModule(root=str(tmp_path), val_file="labels/people_test.txt").setup("fit")


@needs_lists
def test_real_lists(tmp_path: Path) -> None:
    """75 / 5 / 20 %, on the published lists of `people` with one image linked to all names."""
    lines = [(LISTS / f"people_{split}.txt").read_text().split("\n") for split in ("train", "test")]
    image = make_image(tmp_path / "one.png", size=(8, 8))
    for line in [*lines[0], *lines[1]]:
        (tmp_path / line.split("\t")[0]).hardlink_to(image)
    train_file, test_file = (str(LISTS / f"people_{split}.txt") for split in ("train", "test"))
    data = AestheticsDataModule(
        root=str(tmp_path), train_file=train_file, test_file=test_file, num_workers=0, image_size=8
    )
    data.setup("fit")
    data.setup("test")
    sizes = [len(data.labels(split)) for split in ("train", "val", "test")]
    assert sizes == [2021, 135, 539]
    expected = Counter(float(line.split("\t")[1]) for line in lines[0])
    assert Counter(data.labels("train").targets + data.labels("val").targets) == expected
    val = Counter(data.labels("val").targets)
    assert all(abs(val[score] - count * 135 / 2156) <= 1 for score, count in expected.items())


def test_folds_of_both_lists(tmp_path: Path) -> None:
    make_aesthetics(tmp_path, train=32, test=8)
    tested: list[str] = []
    for fold in range(5):
        data = AestheticsDataModule(root=str(tmp_path), fold=fold, num_workers=0, image_size=8)
        data.setup("fit")
        data.setup("test")
        tested += [label.path for label in data.labels("test")]
        assert [len(data.labels(split)) for split in ("train", "val", "test")] == [30, 2, 8]
    assert len(set(tested)) == len(tested) == 40


def test_bad_folds(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fold=5 doesn't exist; choose 0 to 4"):
        AestheticsDataModule(fold=5)
    with pytest.raises(ConfigError, match="fold=1 divides the published lists; leave it or your list files out"):
        AestheticsDataModule(fold=1, test_file="mine.txt")
    make_aesthetics(tmp_path)
    (tmp_path / "labels" / "people_test.txt").unlink()
    message = r"some lists of the train split are missing; put people_train\.txt and people_test\.txt into"
    with pytest.raises(DataError, match=message):
        AestheticsDataModule(root=str(tmp_path), fold=0).setup("fit")


@needs_lists
@pytest.mark.parametrize(
    ("category", "total"), [("animals", 3294), ("nature", 4113), ("people", 2695), ("urban", 3214)]
)
def test_folds_of_the_real_lists(category: Literal["animals", "nature", "people", "urban"], total: int) -> None:
    """75 / 5 / 20 %, each image tested on once, each score in its share."""
    lines = (LISTS / f"{category}_datasets.txt").read_text().split("\n")
    scores = dict(line.split("\t") for line in lines if line)
    assert len(scores) == total
    tested: list[str] = []
    for fold in range(5):
        data = AestheticsDataModule(root=str(LISTS), category=category, fold=fold, check_images="none")
        parts = [data.labels(split) for split in ("train", "val", "test")]
        shares = [len(part) / total for part in parts]
        assert shares == pytest.approx([0.75, 0.05, 0.2], abs=0.001)
        assert len({label.path for part in parts for label in part}) == sum(map(len, parts)) == total
        assert all(label.target == float(scores[label.path]) for part in parts for label in part)
        for score, count in Counter(map(float, scores.values())).items():
            assert abs(parts[2].targets.count(score) - count / 5) < 1
        tested += [label.path for label in parts[2]]
    assert sorted(tested) == sorted(scores)
