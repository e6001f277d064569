"""Files are found as lists write them; a name alone counts only for a whole list."""

import unicodedata
from pathlib import Path

import pytest

from numclip_lightning.data.base.checking import check_images
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.lookup import find_files
from numclip_lightning.errors import DataError
from support.fake_data import make_images


def table(*paths: str) -> LabelTable:
    return LabelTable(Label(path, (), None, i, Path("list.txt")) for i, path in enumerate(paths, start=1))


def found(root: Path, *paths: str) -> list[str]:
    return [str(file.relative_to(root)) for file in find_files(root, table(*paths)).files]


def test_as_written(tmp_path: Path) -> None:
    make_images(tmp_path, ["a/deep.jpg", "flat.jpg"])
    assert found(tmp_path, "a/deep.jpg", r".\a\deep.jpg", "./flat.jpg", "a/../flat.jpg") == [
        "a/deep.jpg", "a/deep.jpg", "flat.jpg", "flat.jpg",
    ]  # fmt: skip
    assert find_files("elsewhere", table(str(tmp_path / "flat.jpg"))).files == [tmp_path / "flat.jpg"]
    assert found(tmp_path, "no/x.jpg") == ["no/x.jpg"]


@pytest.mark.parametrize("prefix", ["", "../../datasets/Morph/image/", "C:\\faces\\", "/mnt/faces/"])
@pytest.mark.parametrize("folder", ["", "image/"])
def test_lists_of_other_authors(prefix: str, folder: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["x.jpg", "y.jpg"]
    make_images(tmp_path, [folder + name for name in names])
    entries = [prefix + name for name in names]
    assert found(tmp_path, *entries) == [folder + name for name in names]
    check_images(table(*entries), tmp_path)
    assert ("are found by their names in" in caplog.text) == (prefix + folder != "")


def test_another_file_of_the_same_name_is_never_taken(tmp_path: Path) -> None:
    make_images(tmp_path, ["day1/000.png", "000.png"])
    with pytest.raises(DataError, match=r"1 of 2 images are missing") as caught:
        check_images(table("day1/000.png", "day2/000.png"), tmp_path)
    message = f"list.txt:2: day2/000.png: missing; {tmp_path / '000.png'} has its name, but is in another folder"
    assert message in str(caught.value)


def test_names_that_are_not_all_found(tmp_path: Path) -> None:
    make_images(tmp_path, ["image/a.jpg", "image/b.jpg"])
    with pytest.raises(DataError, match=r"3 of 3 images are missing") as caught:
        check_images(table("x/a.jpg", "x/b.jpg", "x/c.jpg"), tmp_path)
    lines = str(caught.value).split("\n")
    assert lines[1] == "  list.txt:3: x/c.jpg: missing"
    assert "2 are found by their names in" in lines[4]


def test_two_entries_of_one_name_are_not_one_file(tmp_path: Path) -> None:
    make_images(tmp_path, ["x.jpg"])
    with pytest.raises(DataError, match="2 of 2 images are missing"):
        check_images(table("anna/x.jpg", "bert/x.jpg"), tmp_path)


@pytest.mark.parametrize(
    ("there", "listed"),
    [
        ("IMG_1.JPG", "img_1.jpg"),
        ("Day1/a.png", "day1/a.png"),
        (unicodedata.normalize("NFD", "é.png"), unicodedata.normalize("NFC", "é.png")),
        ("a.png", "a.jpg"),
    ],
)
def test_near_names_are_suggested(there: str, listed: str, tmp_path: Path) -> None:
    make_images(tmp_path, [there])
    with pytest.raises(DataError) as caught:
        check_images(table(listed), tmp_path)
    assert f"missing; did you mean {there!r}?" in str(caught.value)
