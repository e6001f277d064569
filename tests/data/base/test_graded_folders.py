"""Folders that are named by numbers, and ids without suffixes, as lists."""

from pathlib import Path

import pytest
from PIL import Image

from numclip_lightning.data import ListDataModule
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import ConfigError, DataError


def make(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / name)
    return folder


def labels(data: ListDataModule, split: Split) -> list[tuple[str, float]]:
    return [(label.path, label.target) for label in data.labels(split)]


class TestFolders:
    def test_the_number_in_a_folders_name_is_the_label(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        make(
            tmp_path, "train/0Normal/a.png", "train/KL-3/b.png", "train/3/left/c.png", "test/2.5/d.png", "test/-1/e.png"
        )
        (tmp_path / "train" / "3" / "notes.txt").write_text("x")
        data = ListDataModule(root=str(tmp_path), train_file="train", test_file="test", val_fraction=0.4)
        found = {**dict(labels(data, "train")), **dict(labels(data, "val"))}
        assert found == {"train/0Normal/a.png": 0, "train/KL-3/b.png": 3, "train/3/left/c.png": 3}
        assert labels(data, "test") == [("test/-1/e.png", -1), ("test/2.5/d.png", 2.5)]
        assert "3 images; left out: 1 file with other suffixes (.txt 1)" in caplog.text
        data.setup("fit")
        data.setup("test")

    @pytest.mark.parametrize(
        ("name", "fault"),
        [("mild/a.png", "no number"), ("10-20/a.png", r"several numbers \(10, 20\)"), ("a.png", "no number")],
    )
    def test_other_names_are_refused(self, name: str, fault: str, tmp_path: Path) -> None:
        make(tmp_path / "train", name)
        data = ListDataModule(root=str(tmp_path), train_file="train", test_file="train")
        with pytest.raises(DataError, match=f"the folder's name has {fault}, .* or give a list of paths and numbers"):
            data.labels("test")

    def test_a_folder_has_no_columns_and_may_be_empty(self, tmp_path: Path) -> None:
        make(tmp_path / "train", "0/a.png")
        (tmp_path / "empty").mkdir()
        data = ListDataModule(root=str(tmp_path), train_file="train", test_file="empty", group_column="patient")
        with pytest.raises(ConfigError, match=r"group_column='patient': the folder .*train has no columns"):
            data.labels("train")
        with pytest.raises(DataError, match="the test split is empty; look at test_file='empty'"):
            ListDataModule(root=str(tmp_path), train_file="train", test_file="empty").labels("test")


class TestIds:
    def test_each_has_the_one_image_of_its_name(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        make(tmp_path, "0a1.png", "0a2.jpg", "more/0a.3.png")
        (tmp_path / "test.csv").write_text("id_code,diagnosis\n0a1,0\n0a2,1\nmore/0a.3,4\n")
        data = ListDataModule(root=str(tmp_path), test_file="test.csv")
        data.setup("test")
        dataset = data.dataset("test")
        assert [dataset[index]["target"].item() for index in range(3)] == [0, 1, 4]
        assert "none of the 3 paths in" in caplog.text
        assert "3 are found with one" in caplog.text

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (("0a1.png", "0a1.jpg", "0a2.png"), "only one image has the name, not .*0a1.jpg and .*0a1.png"),
            (("0a1.png",), "1 are found with one, which counts only if all of them are"),
        ],
    )
    def test_what_is_not_certain_is_refused(self, names: tuple[str, ...], message: str, tmp_path: Path) -> None:
        make(tmp_path, *names)
        (tmp_path / "test.csv").write_text("id_code,diagnosis\n0a1,0\n0a2,1\n")
        with pytest.raises(DataError, match=message):
            ListDataModule(root=str(tmp_path), test_file="test.csv").setup("test")
