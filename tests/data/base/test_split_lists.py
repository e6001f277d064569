"""The lists of a dataset without a datamodule: found, read once, divided, reduced."""

from pathlib import Path

import pytest

from numclip_lightning.data.base.labels import LabelTable, read_labels
from numclip_lightning.data.base.split_lists import SplitLists
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import DataError, MissingListError


class Source:
    """A dataset with a published test list, which counts how often lists are read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reads: list[str] = []

    def published(self, split: Split) -> LabelTable | None:
        return self.read_list(self.root / "test.txt") if split == "test" else None

    def expected(self, split: Split) -> str:
        return f"put {split}.txt there" if split == "test" else ""

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        self.reads.append(Path(file).name)
        return read_labels(file, labelled=labelled)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """20 training, 4 validation and 5 test entries; images are not needed to read lists."""
    for split, n in (("train", 20), ("val", 4), ("test", 5)):
        lines = [f"{split}_{i}.png {i % 10}" for i in range(n)]
        (tmp_path / f"{split}.txt").write_text("\n".join(lines), encoding="utf-8")
    return Source(tmp_path)


def test_a_part_of_the_training_list_is_set_aside_without_a_validation_list(source: Source) -> None:
    lists = SplitLists(source=source, root=str(source.root), files={"train": "train.txt"}, val_fraction=0.2)
    train, val = lists.read("train"), lists.read("val")
    assert (len(train), len(val)) == (16, 4)
    assert {label.path for label in train} | {label.path for label in val} == {f"train_{i}.png" for i in range(20)}


def test_a_validation_list_leaves_the_training_list_whole(source: Source) -> None:
    files: dict[Split, str | None] = {"train": "train.txt", "val": "val.txt"}
    lists = SplitLists(source=source, root=str(source.root), files=files)
    assert (len(lists.read("train")), len(lists.read("val"))) == (20, 4)


def test_selecting_on_the_test_list_validates_on_it(source: Source) -> None:
    lists = SplitLists(source=source, root=str(source.root), files={"train": "train.txt"}, select_on="test")
    assert lists.read("val") is lists.read("test")
    assert len(lists.read("train")) == 20


def test_the_training_list_is_reduced_after_the_validation_part_is_set_aside(source: Source) -> None:
    def first_three(train: LabelTable) -> LabelTable:
        return LabelTable(train[:3])

    lists = SplitLists(source=source, root=str(source.root), files={"train": "train.txt"}, reduce=first_three)
    assert (len(lists.read("train")), len(lists.read("val"))) == (3, 2)


def test_each_list_is_read_once(source: Source) -> None:
    lists = SplitLists(source=source, root=str(source.root), files={"train": "train.txt"})
    for _ in range(2):
        for split in ("train", "val", "test"):
            lists.read(split)
        lists.refuse_shared_images()
        lists.refuse_test_images()
    assert sorted(source.reads) == ["test.txt", "train.txt"]


def test_a_missing_list_is_named_with_what_was_expected(source: Source) -> None:
    lists = SplitLists(source=source, root=str(source.root), files={"test": "none.txt"})
    with pytest.raises(MissingListError, match=r"^there is no train list; give train_file$"):
        lists.read("train")
    with pytest.raises(MissingListError, match=r"test_file='none.txt' doesn't exist; looked at none.txt and"):
        lists.read("test")


def test_lists_that_share_images_are_refused(source: Source) -> None:
    files: dict[Split, str | None] = {"train": "train.txt", "val": "train.txt"}
    with pytest.raises(DataError, match="20 training images are also in the validation list"):
        SplitLists(source=source, root=str(source.root), files=files).refuse_shared_images()
