from pathlib import Path

import pytest
import torch

from numclip_lightning.data.clap2015 import CLAP2015DataModule
from numclip_lightning.errors import DataError
from support.fake_data import make_clap2015
from support.places import DATALISTS, needs_lists

LISTS = DATALISTS / "clap2015"


def test_published_layout(tmp_path: Path) -> None:
    make_clap2015(tmp_path, train=12, val=7, test=5)
    data = CLAP2015DataModule(root=str(tmp_path), num_workers=0, image_size=8, batch_size=3)
    data.setup("fit")
    data.setup("test")
    for split, size in (("train", 12), ("val", 7), ("test", 5)):
        table = data.labels(split)  # type: ignore[arg-type]
        assert len(table) == size
        assert all(label.path.startswith(f"image_{split}") for label in table)
    assert data.labels("test")[0].where == str(tmp_path / "total_2015.csv") + ":21"
    for batch in data.test_dataloader():
        assert batch["spread"].dtype == torch.float32
        assert batch["spread"].tolist() == [2.25 + i % 5 for i in batch["index"].tolist()]
    data.setup("predict")
    assert next(iter(data.predict_dataloader())).keys() == {"image", "index"}


def test_bad_lists(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no train list; give train_file, or put total_2015\.csv into"):
        CLAP2015DataModule(root=str(tmp_path)).setup("fit")
    (tmp_path / "clap2015").mkdir()
    table = tmp_path / "clap2015" / "total_2015.csv"
    for row, message in (
        (
            "a.jpg,21,4.0,training",
            r"total_2015\.csv:2: database 'training' is not a split; expected one of train, val, tes",
        ),
        ("a.jpg,21,-1,train", r"total_2015\.csv:2: spread '-1' is not a standard deviation; expected a number of 0"),
        ("a.jpg,old,4.0,train", r"total_2015\.csv:2: label 'old' is not a number"),
        (
            "a.jpg,21,4.0,train\nb.jpg,21,4.0,val\n./a.jpg,21,4.0,test",
            r":4: '\./a\.jpg' is in the split 'test', but an earlier line has it in 'train'; remove one of the two",
        ),
        (
            "a.jpg,21,4.0,train\na.jpg,21,5.0,train",
            r":3: 'a\.jpg' is labelled 21 \(spread 5\), but line 2 labels it 21 \(",
        ),
    ):
        table.write_text(f"filename,age,stdv,database\n{row}\n")
        with pytest.raises(DataError, match=message):
            CLAP2015DataModule(root=str(tmp_path)).setup("fit")
    table.write_text("filename,age,stdv,database\na.jpg,21,4.0,train\n")
    with pytest.raises(DataError, match=r"the test split is empty; put total_2015\.csv into"):
        CLAP2015DataModule(root=str(tmp_path), check_images="none").setup("test")


def test_headers_in_any_case(tmp_path: Path) -> None:
    table = tmp_path / "total_2015.csv"
    table.write_text("Filename,Age,STDV,Database\na.jpg,21,4.0,test\n")
    data = CLAP2015DataModule(root=str(tmp_path))
    assert [(label.target, label.spread) for label in data.labels("test")] == [(21.0, 4.0)]
    table.write_text("Filename,filename,age,stdv,database\na.jpg,b.jpg,21,4.0,test\n")
    with pytest.raises(DataError, match=r"total_2015\.csv has several columns 'filename'; the columns are 'File"):
        CLAP2015DataModule(root=str(tmp_path)).labels("test")
    table.write_text("Filename,age,database\na.jpg,21,test\n")
    with pytest.raises(DataError, match=r"has no column 'stdv'; the columns are .*'database'; rename one to it"):
        CLAP2015DataModule(root=str(tmp_path)).labels("test")


def test_list_files_alone_count(tmp_path: Path) -> None:
    make_clap2015(tmp_path)
    (tmp_path / "mine.csv").write_text("filename,age,stdv\nimage_test0.jpg,20,1.5\n")
    data = CLAP2015DataModule(root=str(tmp_path), test_file="mine.csv")
    assert [label.spread for label in data.labels("test")] == [1.5]
    with pytest.raises(DataError, match="there is no train list"):
        data.setup("fit")


@needs_lists
def test_real_list() -> None:
    data = CLAP2015DataModule(root=str(LISTS), check_images="none")
    data.setup("fit")
    data.setup("test")
    lines = (LISTS / "total_2015.csv").read_text().split()[1:]
    for split, size, low, high in (("train", 2476, 3, 82), ("val", 1136, 5, 85), ("test", 1079, 4, 69)):
        table = data.labels(split)  # type: ignore[arg-type]
        assert (len(table), min(table.targets), max(table.targets)) == (size, low, high)
        found = {f"{label.path},{label.target:g},{label.spread}" for label in table}
        expected = {line.rsplit(",", 1)[0] for line in lines if line.endswith(f",{split}")}
        assert {(p, a, float(s)) for p, a, s in (entry.split(",") for entry in found)} == {
            (p, a, float(s)) for p, a, s in (entry.split(",") for entry in expected)
        }
