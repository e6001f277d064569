"""Images that two splits share: refused before a fit, and before a later test of its checkpoint."""

from pathlib import Path
from typing import Any

import pytest

from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.errors import DataError
from support.list_data import make_three_lists, module, paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """30 training, 11 validation and 9 test images."""
    return make_three_lists(tmp_path)


def test_selecting_on_the_test_list_is_refused(root: Path) -> None:
    message = "9 of 9 validation images are also in the test list, first 'test_000.png' .*test.txt:1.*select_on=test"
    with pytest.raises(DataError, match=message):
        module(root, val_file="test.txt").setup("fit")
    (root / "copy.txt").write_text("./test_003.png 13\nval_001.png 11\n")
    with pytest.raises(DataError, match="1 of 2 validation images are also in the test list"):
        module(root, val_file="copy.txt").setup("fit")


def test_selecting_on_the_test_list_uses_it_for_validation_and_warns(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = module(root, val_file=None, select_on="test")
    data.setup("fit")
    assert paths(data.labels("val")) == paths(data.labels("test"))
    assert len(data.labels("train")) == 30
    assert "select_on='test': 9 of 9 validation images are test images" in caplog.text


def test_a_validation_list_may_share_test_images_if_that_is_asked_for(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "mixed.txt").write_text("test_003.png 13\nval_001.png 11\n")
    data = module(root, val_file="mixed.txt", select_on="test")
    data.setup("fit")
    assert paths(data.labels("val")) == ["test_003.png", "val_001.png"]
    assert "select_on='test': 1 of 2 validation images are test images" in caplog.text


def test_selecting_on_the_test_list_needs_its_images(root: Path) -> None:
    with pytest.raises(DataError, match="none of 11 validation images is in the test list; leave val_file out to"):
        module(root, select_on="test").setup("fit")
    for options in ({"val_file": None}, {}):
        with pytest.raises(DataError, match="there is no test list; give test_file"):
            module(root, test_file=None, select_on="test", **options).setup("fit")


def test_a_test_after_the_fit_does_not_warn_again(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = module(root, val_file=None, select_on="test")
    for stage in ("test", "fit", "test"):
        data.setup(stage)
    assert caplog.text.count("validation images are test images") == 1


def test_a_later_test_on_what_was_selected_on_is_refused(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    module(root, test_file=None).setup("fit")
    message = (
        r"11 of 11 validation images are also in the test list, first 'val_000\.png' .*val\.txt:1.* Give another "
        "test_file, or set select_on=test if you mean it"
    )
    with pytest.raises(DataError, match=message):
        module(root, test_file="val.txt").setup("test")
    allowed = module(root, test_file="val.txt", select_on="test")
    allowed.setup("test")
    assert "select_on='test': 11 of 11 validation images are test images" in caplog.text
    assert allowed.summary() == "test 11 (targets 10..19), shots 0"


def test_a_later_test_on_what_was_trained_on_is_refused(root: Path) -> None:
    message = r"30 training images are also in the test list, first 'train_000\.png' \(.*; remove them from one of"
    for select_on in ("val", "test"):
        with pytest.raises(DataError, match=message):
            module(root, test_file="train.txt", select_on=select_on).setup("test")


def test_a_later_test_reads_the_lists_as_the_fit_did(root: Path) -> None:
    """A part of the training list was set aside for validation, and few shots left images out."""
    part = module(root, val_file=None, test_file=None).labels("val")
    (root / "part.txt").write_text("".join(f"{label.path} {label.target:g}\n" for label in part))
    with pytest.raises(DataError, match="3 of 3 validation images are also in the test list"):
        module(root, val_file=None, test_file="part.txt").setup("test")
    few = module(root, num_shots=1)
    unseen = [label for label in module(root).labels("train") if label.path not in paths(few.labels("train"))]
    (root / "unseen.txt").write_text("".join(f"{label.path} {label.target:g}\n" for label in unseen))
    module(root, num_shots=1, test_file="unseen.txt").setup("test")


@pytest.mark.parametrize("absent", [("train",), ("val",), ("train", "val")])
def test_on_a_machine_without_the_other_lists(root: Path, absent: tuple[str, ...]) -> None:
    for split in absent:
        (root / f"{split}.txt").unlink()
    for options in ({}, {"select_on": "test", "val_file": None}):
        data = module(root, **options)
        data.setup("test")
        assert len(data.labels("test")) == 9
    # A list that is present still counts.
    kept = "val" if absent == ("train",) else "train"
    if kept not in absent:
        with pytest.raises(DataError, match="images are also in the test list"):
            module(root, test_file=f"{kept}.txt").setup("test")


@pytest.mark.parametrize(("split", "name"), [("val", "validation"), ("test", "test")])
def test_training_images_are_for_training_alone(root: Path, split: str, name: str) -> None:
    with (root / f"{split}.txt").open("a") as file:
        file.write("train_004.png 3\n")
    pattern = rf"1 training images are also in the {name} list, first 'train_004\.png' \(.*train\.txt:5\); remove them"
    with pytest.raises(DataError, match=pattern):
        module(root).setup("fit")


def test_groups_that_lists_share(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, people in (("train", "aabbcc"), ("val", "ddee"), ("test", "bcff")):
        lines = [f"{name}_{i}.png,{i},{person}" for i, person in enumerate(people)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,age,person", *lines]), encoding="utf-8")
    lists = {f"{split}_file": f"{split}.csv" for split in ("train", "val", "test")}

    def fit(**options: Any) -> str:
        caplog.clear()
        given: dict[str, Any] = {**lists, "group_column": "person", **options}
        ListDataModule(root=str(tmp_path), check_images="none", **given).setup("fit")
        return caplog.text

    message = r"2 of 3 groups in the test list, such as 'b', are also in the training list \(2 of 4 test images\)"
    with pytest.raises(DataError, match=message + ".*--data.test_fraction.*data.leaks=warn"):
        fit()
    assert "2 of 3 groups in the test list, such as 'b', are also in the training list" in fit(leaks="warn")
    assert "groups in the validation list" not in caplog.text
    assert "groups in the" not in fit(test_file=None)
    assert "groups in the" not in fit(test_file=None, val_file=None, val_fraction=0.3)
    assert "groups in the" not in fit(group_column=None)
    with pytest.raises(DataError, match="groups in the test list"):
        ListDataModule(root=str(tmp_path), check_images="none", group_column="person", **lists).setup("test")  # type: ignore[arg-type]


def test_a_list_without_groups_is_fine_but_for_the_training_list(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("path,age,person\na.png,1,x\nb.png,2,y\nc.png,3,z\n")
    (tmp_path / "test.csv").write_text("path,age\nd.png,1\n")

    def fit(**options: str) -> None:
        lists = {"train_file": "train.csv", "test_file": "test.csv", "group_column": "person", **options}
        ListDataModule(root=str(tmp_path), check_images="none", **lists).setup("fit")  # type: ignore[arg-type]

    fit()
    with pytest.raises(DataError, match="no column group_column='persons'; did you mean 'person'"):
        fit(group_column="persons")
    with pytest.raises(DataError, match=r"test\.csv has no column group_column='person'"):
        fit(train_file="test.csv", test_file="train.csv")


@pytest.mark.parametrize("kind", ["copy", "symlink", "hardlink"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_images_under_another_name(kind: str, split: str, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    other, mine = root / f"{split}_000.png", root / "train_003.png"
    other.unlink()
    if kind == "copy":
        other.write_bytes(mine.read_bytes())
    elif kind == "symlink":
        other.symlink_to(mine)
    else:
        other.hardlink_to(mine)
    with pytest.raises(DataError, match=r"1 training images have the same content as images of the .*'train_003\.png'"):
        module(root).setup("fit")
    module(root, leaks="warn").setup("fit")
    assert "1 training images have the same content" in caplog.text
