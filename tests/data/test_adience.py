from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pytest

from numclip_lightning.data.adience import AdienceDataModule, age_class
from numclip_lightning.data.base import LabelTable
from numclip_lightning.errors import ConfigError, DataError
from support.fake_data import make_adience
from support.places import DATALISTS, needs_lists

LISTS = DATALISTS / "adience"


def users(table: LabelTable) -> set[str | None]:
    return {label.group for label in table}


def pairs(table: LabelTable) -> set[tuple[str, float, str | None]]:
    return {(label.path, label.target, label.group) for label in table}


@pytest.mark.parametrize("lists", ["simplified", "official", "frontal"])
def test_published_layouts(tmp_path: Path, lists: Literal["simplified", "official", "frontal"]) -> None:
    make_adience(tmp_path, per_fold=12)
    data = AdienceDataModule(root=str(tmp_path), lists=lists, fold=2, num_workers=0, image_size=8)
    data.setup("fit")
    data.setup("test")
    train, val, test = data.labels("train"), data.labels("val"), data.labels("test")
    assert (len(train) + len(val), len(test)) == (48, 12)
    assert all(label.path.split("/")[0] == label.group for label in (*train, *val, *test))
    assert not users(train) & users(val)
    assert not users(test) & (users(train) | users(val))
    assert {source.name.count("2") for source in test.sources} == {1}
    assert set(train.targets) | set(val.targets) == set(map(float, range(8)))


def test_official_and_simplified_lists_have_the_same_labels(tmp_path: Path) -> None:
    make_adience(tmp_path)
    simplified = AdienceDataModule(root=str(tmp_path), fold=4)
    official = AdienceDataModule(root=str(tmp_path), lists="official", fold=4)
    for split in ("train", "val", "test"):
        assert pairs(official.labels(split)) == pairs(simplified.labels(split))


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        ("(0, 2)", 0),
        ("(8, 12)", 2),
        ("(8, 13)", 2),
        ("(60, 100)", 7),
        ("2", 0),
        ("35", None),
        ("57", None),
        ("(38, 48)", None),
        ("(8, 23)", None),
        ("(32, 25)", None),
        ("None", None),
    ],
)
def test_ages_within_one_class(age: str, expected: int | None) -> None:
    assert age_class(age) == expected


def test_bad_lists(tmp_path: Path) -> None:
    header = "user_id\toriginal_image\tface_id\tage\n"
    table = tmp_path / "fold_0_data.txt"
    options: dict[str, Any] = {"root": str(tmp_path), "test_file": table.name, "check_images": "none"}
    table.write_text(header + "u\ti.jpg\t1\told\n")
    with pytest.raises(DataError, match=r"fold_0_data\.txt:2: age 'old' is neither a range such as \(25, 32\), a"):
        AdienceDataModule(**options).setup("test")
    table.write_text("user_id\toriginal_image\tage\nu\ti.jpg\t(0, 2)\n")
    with pytest.raises(DataError, match=r"fold_0_data\.txt has no column 'face_id'; the columns are 'user_id', 'or"):
        AdienceDataModule(**options).setup("test")
    table.write_text(header + "u\ti.jpg\t1\n")
    with pytest.raises(DataError, match=r"fold_0_data\.txt:2: the line has 3 fields, the header has 4"):
        AdienceDataModule(**options).setup("test")
    (tmp_path / "mine.txt").write_text("face.jpg 3\n")
    with pytest.raises(DataError, match=r"mine\.txt:1: 'face\.jpg' has no user's folder, such as 30601258@N03/; read"):
        AdienceDataModule(root=str(tmp_path), train_file="mine.txt").setup("fit")
    assert len(AdienceDataModule(root=str(tmp_path), predict_path="mine.txt").labels("predict")) == 1


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fold=5 doesn't exist; choose 0 to 4"):
        AdienceDataModule(fold=5)
    with pytest.raises(ConfigError, match=r"lists is 'oficial'; choose one of .*; did you mean 'official'"):
        AdienceDataModule(lists="oficial")  # type: ignore[arg-type]
    message = r"there is no test list; give test_file, or put fold_3_data\.txt into .* or its folder 'folds'"
    with pytest.raises(DataError, match=message):
        AdienceDataModule(root=str(tmp_path), lists="official", fold=3).setup("test")
    (tmp_path / "simplified_adience_1.txt").write_text("u/a.jpg 3\n")
    with pytest.raises(
        DataError, match=r"some lists of the train split are missing; put simplified_adience_1\.txt, sim"
    ):
        AdienceDataModule(root=str(tmp_path)).setup("fit")


@needs_lists
def test_real_lists() -> None:
    sizes, seen = [], Counter[str | None]()
    for fold in range(5):
        data = AdienceDataModule(root=str(LISTS), fold=fold, check_images="none")
        train, val, test = data.labels("train"), data.labels("val"), data.labels("test")
        sizes.append(len(test))
        assert len(train) + len(val) + len(test) == 17470
        assert not users(test) & (users(train) | users(val))
        assert not users(train) & users(val)
        assert abs(len(val) / (17470 - len(test)) - 0.1) < 0.01
        seen.update(users(test))
        sources = (LISTS / f"simplified_adience_{fold}.txt").read_text().split("\n")
        expected = Counter(float(line.split()[1]) for line in sources if line)
        assert Counter(test.targets) == expected
    assert sizes == [4377, 3093, 3285, 3039, 3676]
    assert len(seen) == 33 + 34 + 32 + 32 + 32
    assert set(seen.values()) == {1}
