from collections import Counter
from pathlib import Path

import pytest

from numclip_lightning.data.base import LabelTable
from numclip_lightning.data.retina import RetinaDataModule
from numclip_lightning.errors import ConfigError, DataError
from support.fake_data import make_images, make_retina


def patients(table: LabelTable) -> set[str | None]:
    return {label.group for label in table}


def test_a_table_of_ids(tmp_path: Path) -> None:
    make_retina(tmp_path, 60)
    data = RetinaDataModule(root=str(tmp_path), num_workers=0, image_size=8)
    data.setup("fit")
    data.setup("test")
    tables = [data.labels(split) for split in ("train", "val", "test")]
    assert list(map(len, tables)) == [43, 5, 12]
    assert all(label.path.startswith("train_images/") and label.path.endswith(".png") for label in tables[0])
    # Stratified: each fifth of the images has one grade.
    assert all(2 <= count <= 3 for count in Counter(tables[2].targets).values())
    assert data.labels("test")[0].source == tmp_path / "train.csv"
    assert next(iter(data.test_dataloader()))["target"].tolist() == list(tables[2].targets)


@pytest.mark.parametrize("column", [True, False])
def test_patients_stay_together(tmp_path: Path, column: bool) -> None:
    """By their column, in any case, or by the names of their eyes as EyePACS has them."""
    if column:
        rows = ["image,level,Patient_ID", *(f"e{i},{i % 5},p{i // 3}" for i in range(60))]
    else:
        rows = ["image,level", *(f"{i // 2}_{'left' if i % 2 else 'right'},{i % 5}" for i in range(60))]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    data = RetinaDataModule(root=str(tmp_path), check_images="none")
    tables = [data.labels(split) for split in ("train", "val", "test")]
    assert sum(map(len, tables)) == 60
    assert sum(len(patients(table)) for table in tables) == (20 if column else 30)
    assert None not in patients(tables[0])


def test_columns_of_other_names(tmp_path: Path) -> None:
    rows = ["eye,finding,level", *(f"e{i},{i % 5},9" for i in range(20))]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    data = RetinaDataModule(root=str(tmp_path), path_column="eye", target_column="finding", check_images="none")
    assert set(data.labels("train").targets) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    assert data.labels("train")[0].path.startswith("e")
    with pytest.raises(DataError, match=r"train\.csv has no column target_column='findings'; did you mean 'finding'"):
        RetinaDataModule(root=str(tmp_path), path_column="eye", target_column="findings").setup("fit")


def test_images_are_found_by_id(tmp_path: Path) -> None:
    make_images(tmp_path / "test_images", ["aa.jpeg", "cc.png"])
    make_images(tmp_path, ["bb.tif"])
    (tmp_path / "mine.csv").write_text("id_code,diagnosis\naa,0\nbb,4\ntest_images/cc.png,2\n")
    data = RetinaDataModule(root=str(tmp_path), test_file="mine.csv")
    data.setup("test")
    assert [label.path for label in data.labels("test")] == ["test_images/aa.jpeg", "bb.tif", "test_images/cc.png"]
    (tmp_path / "new.csv").write_text("id_code\naa\n")
    data = RetinaDataModule(root=str(tmp_path), predict_path="new.csv")
    data.setup("predict")
    assert [label.path for label in data.labels("predict")] == ["test_images/aa.jpeg"]


def test_images_that_are_not_found(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("id_code,diagnosis\naa,0\n")
    with pytest.raises(DataError, match=r"1 of 1 images are missing.*\n.*mine\.csv:2: aa: missing"):
        RetinaDataModule(root=str(tmp_path), test_file="mine.csv").setup("test")
    make_images(tmp_path, ["aa.png", "aa.jpg"])
    with pytest.raises(DataError, match=r"mine\.csv:2: 'aa' may be aa\.jpg or aa\.png; keep one of them"):
        RetinaDataModule(root=str(tmp_path), test_file="mine.csv").setup("test")


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="test_fraction=0 must be between 0 and 1"):
        RetinaDataModule(test_fraction=0)
    message = r"there is no train list; give train_file, or put train\.csv with the columns id_code and diagnosis into"
    with pytest.raises(DataError, match=message):
        RetinaDataModule(root=str(tmp_path)).setup("fit")
