"""What a list knows of its images travels from its columns, or from the names of the images, into predictions."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from numclip_lightning.data import ListDataModule, UTKFaceDataModule
from numclip_lightning.data.base.writing import write_splits
from numclip_lightning.errors import ConfigError, DataError
from support.command import Numclip, failure, make_data, rows_of
from support.fake_data import make_images

ROWS = [("a.png", "1", "f", "north"), ("b.png", "2", "m", ""), ("c.png", "3", "f", "south")]


def write(file: Path, heading: str, rows: Sequence[tuple[str, ...]]) -> str:
    file.write_text("\n".join([heading, *map(",".join, rows)]) + "\n")
    return file.name


def lists(folder: Path, **arguments: Any) -> ListDataModule:
    make_images(folder, [row[0] for row in ROWS])
    file = write(folder / "list.csv", "path,target,sex,site", ROWS)
    files = {f"{split}_file": file for split in ("train", "val", "test")}
    given: dict[str, Any] = {**files, "attributes": ["site", "sex"], **arguments}
    return ListDataModule(root=str(folder), num_workers=0, **given)


def test_columns_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    table = lists(tmp_path).labels("test")
    assert table.attributes == ("site", "sex")
    assert [dict(label.attributes) for label in table] == [
        {"site": "north", "sex": "f"}, {"site": "", "sex": "m"}, {"site": "south", "sex": "f"},
    ]  # fmt: skip


def test_nothing_is_kept_that_was_not_asked_for(tmp_path: Path) -> None:
    assert lists(tmp_path, attributes=None).labels("test").attributes == ()


def test_only_the_test_list_needs_them(tmp_path: Path) -> None:
    data = lists(tmp_path)
    bare = write(tmp_path / "bare.csv", "path,target", [row[:2] for row in ROWS])
    train = lists(tmp_path, train_file=bare, predict_path=str(tmp_path / bare))
    assert train.labels("train").attributes == ()
    assert train.labels("predict").attributes == ()
    assert data.labels("predict").attributes == ("site", "sex")
    with pytest.raises(DataError, match=r"bare.csv has no column attributes='site'; the columns are 'path', 'target'"):
        lists(tmp_path, test_file=bare).labels("test")


def test_a_misspelt_name_is_refused_with_the_one_that_is_meant(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'site'"):
        lists(tmp_path, attributes=["sit"]).labels("test")
    with pytest.raises(ConfigError, match="'sex', which is empty or there twice"):
        lists(tmp_path, attributes=["sex", "sex"])
    (tmp_path / "plain.txt").write_text("a.png 1\nb.png 2\n")
    with pytest.raises(DataError, match="no header line, so the attributes 'sex' can't be found"):
        lists(tmp_path, test_file="plain.txt", attributes=["sex"]).labels("test")


def test_one_column_is_left_for_the_target(tmp_path: Path) -> None:
    write(tmp_path / "odd.csv", "path,sex,wear", [("a.png", "f", "1"), ("b.png", "m", "2")])
    assert lists(tmp_path, test_file="odd.csv", attributes=["sex"]).labels("test").targets == (1.0, 2.0)


def test_two_lines_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "twice.csv", "path,target,sex", [("a.png", "1", "f"), ("a.png", "1", "m")])
    with pytest.raises(DataError, match=r"labelled 1 \(sex 'm'\), but line 2 labels it 1 \(sex 'f'\)"):
        lists(tmp_path, test_file="twice.csv", attributes=["sex"]).labels("test")


def test_written_splits_keep_them(tmp_path: Path) -> None:
    make_images(tmp_path, [f"{number}.png" for number in range(20)])
    rows = [(f"{number}.png", str(number), "fm"[number % 2]) for number in range(20)]
    write(tmp_path / "all.csv", "path,target,sex", rows)
    data = ListDataModule(root=str(tmp_path), train_file="all.csv", test_fraction=0.3, attributes=["sex"])
    write_splits(data, tmp_path / "out")
    with (tmp_path / "out" / "test.txt").open() as file:
        found = list(csv.DictReader(file, delimiter="\t"))
    assert len(found) == 6
    assert all(row["sex"] == "fm"[int(row["target"]) % 2] for row in found)


def test_names_of_utkface_give_sex_and_ethnicity_and_malformed_ones_nothing(tmp_path: Path) -> None:
    names = {"31_0_2_2017.jpg": ("male", "Asian"), "4_1_0_2017.jpg": ("female", "White"), "61_3_2017.jpg": ("", "")}
    make_images(tmp_path, names)
    (tmp_path / "faces.txt").write_text("".join(f"{name} {name.split('_')[0]}\n" for name in names))
    data = UTKFaceDataModule(root=str(tmp_path), test_file="faces.txt", attributes=["sex", "ethnicity"])
    found = {label.path: tuple(value for _, value in label.attributes) for label in data.labels("test")}
    assert found == names
    assert UTKFaceDataModule(root=str(tmp_path), test_file="faces.txt").labels("test").attributes == ()
    with pytest.raises(DataError, match="no image has the attribute 'site'"):
        UTKFaceDataModule(root=str(tmp_path), test_file="faces.txt", attributes=["site"]).labels("test")


def test_tests_and_predictions_have_a_column_of_each(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    entries = [line.split() for line in (data / "test.txt").read_text().splitlines()]
    rows = [(path, target, "fm"[place % 2]) for place, (path, target) in enumerate(entries)]
    write(data / "sexes.csv", "path,target,sex", rows)
    numclip = Numclip(data, tmp_path / "runs")
    asked = ["--data.test_file=sexes.csv", "--data.attributes=[sex]"]
    fitted = numclip("fit", "--trainer.max_epochs=1", *asked)
    checkpoint = f"--ckpt_path={fitted}/checkpoints/best.ckpt"
    for verb, name in (("test", "test_predictions.csv"), ("predict", "predictions.csv")):
        found = rows_of(numclip(verb, checkpoint, *asked) / name)
        assert [row["attribute_sex"] for row in found] == [row[2] for row in rows]
    assert failure("test", *numclip.flags, checkpoint, "--data.attributes=[sex]") == 2
