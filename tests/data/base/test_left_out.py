"""Images that can't be read, left out of a fit, a validation and a test: as if their lists had no such lines."""

import logging
import shutil
from pathlib import Path

import pytest

from numclip_lightning.data import AestheticsDataModule, FeatureListDataModule, ListDataModule
from numclip_lightning.data.base.labels import LabelTable
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import ConfigError, DataError
from support.fake_data import make_aesthetics, make_list_dataset
from support.list_data import make_three_lists, module, paths

EMPTY, MISSING, BROKEN = "train_003.png", "train_017.png", "val_004.png"


def lists_without(root: Path, folder: Path, *names: str) -> Path:
    """Copy the images and lists, the lines of some images excepted, which are copied too."""
    shutil.copytree(root, folder)
    for file in folder.glob("*.txt"):
        lines = file.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.split()[0] not in names]
        file.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three lists; an empty and a missing training image, and a validation image that is cut off."""
    root = make_three_lists(tmp_path / "data")
    (root / EMPTY).write_bytes(b"")
    (root / MISSING).unlink()
    whole = (root / BROKEN).read_bytes()
    (root / BROKEN).write_bytes(whole[: len(whole) // 2])
    return root


@pytest.mark.parametrize(
    ("options", "splits"),
    [
        ({}, ("train", "val")),
        ({"val_file": None, "val_fraction": 0.3}, ("train", "val")),
        ({"val_file": None, "num_shots": 2, "seed": 3}, ("train", "val")),
        ({"check_images": "header"}, ("train",)),
    ],
)
def test_a_fit_is_that_of_lists_without_these_lines(
    root: Path, tmp_path: Path, options: dict[str, object], splits: tuple[Split, ...]
) -> None:
    # The header of an image that is cut off is whole.
    bad = [EMPTY, MISSING] if options.get("check_images") == "header" else [EMPTY, MISSING, BROKEN]
    skipping, without = (
        module(root, on_bad_image="skip", **options),
        module(lists_without(root, tmp_path / "without", *bad), **options),
    )
    # What is read before the images are looked at is read again.
    assert EMPTY in paths(skipping.split_lists.find("train") or LabelTable(()))
    skipping.labels("train")
    for data in (skipping, without):
        data.setup("fit")
    for split in splits:
        assert [(label.path, label.targets) for label in skipping.labels(split)] == [
            (label.path, label.targets) for label in without.labels(split)
        ]
        images = [sample["image"] for sample in skipping.dataset(split)]  # type: ignore[attr-defined]
        assert len(images) == len(skipping.labels(split))
    assert not {EMPTY, MISSING} & set(paths(skipping.labels("train")))


def test_a_validation_draws_the_part_of_the_fit(root: Path) -> None:
    options = {"val_file": None, "val_fraction": 0.3, "on_bad_image": "skip"}
    fit, validation = module(root, **options), module(root, **options)
    fit.setup("fit")
    validation.setup("validate")
    assert paths(fit.labels("val")) == paths(validation.labels("val"))


def test_they_are_named_with_line_and_reason(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = module(root, on_bad_image="skip")
    with caplog.at_level(logging.WARNING):
        data.setup("fit")
    assert "2 of 30 images of the train list can't be read and are left out:" in caplog.text
    assert f"{root / 'train.txt'}:4: {EMPTY}: unreadable" in caplog.text
    assert f"{root / 'train.txt'}:18: {MISSING}: missing" in caplog.text
    assert "1 of 11 images of the val list" in caplog.text
    assert {split: [image.label.path for image in bad] for split, bad in data.split_lists.left_out.items()} == {
        "train": [EMPTY, MISSING],
        "val": [BROKEN],
    }


def test_empty_files_are_no_copies_of_each_other(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for place in range(6):
        (root / f"train_{place:03d}.png").write_bytes(b"")
    module(root, on_bad_image="skip").setup("fit")
    assert "7 of 30 images" in caplog.text
    assert "content of another image" not in caplog.text


def test_a_test_list_of_your_own_is_skipped_too(root: Path) -> None:
    (root / "test_001.png").write_bytes(b"no image")
    data = module(root, on_bad_image="skip")
    data.setup("test")
    assert len(data.labels("test")) == 8
    assert "test_001.png" not in paths(data.labels("test"))
    selecting = ListDataModule(
        root=str(root), train_file="train.txt", test_file="test.txt", select_on="test", on_bad_image="skip"
    )
    selecting.setup("fit")
    assert paths(selecting.labels("val")) == paths(data.labels("test"))


def test_a_published_test_list_is_whole_or_refused(tmp_path: Path) -> None:
    make_aesthetics(tmp_path)
    (tmp_path / "train000003.png").write_bytes(b"")
    (tmp_path / "test000003.png").write_bytes(b"")
    data = AestheticsDataModule(root=str(tmp_path), category="people", select_on="val", on_bad_image="skip")
    data.setup("fit")
    assert [image.label.path for image in data.split_lists.left_out["train"]] == ["train000003.png"]
    with pytest.raises(
        DataError, match="1 of 10 images of the test list can't be read; a protocol's test list is whole"
    ):
        data.setup("test")


def test_what_can_not_be_skipped_is_not_said_to_be(tmp_path: Path) -> None:
    make_aesthetics(tmp_path)
    (tmp_path / "train000003.png").write_bytes(b"")
    (tmp_path / "test000003.png").write_bytes(b"")
    data = AestheticsDataModule(root=str(tmp_path), category="people", select_on="val")
    with pytest.raises(DataError, match=r"or leave them out with data.on_bad_image=skip\.$"):
        data.setup("fit")
    with pytest.raises(DataError, match=r"restore the images, or remove their lines\.$"):
        data.setup("test")
    selecting = AestheticsDataModule(root=str(tmp_path), category="people", select_on="test")
    with pytest.raises(DataError, match=r"restore the images, or remove their lines\.$"):
        selecting.setup("validate")


def test_images_off_the_scale_can_not_be_skipped(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    images = ListDataModule(off_scale_file=str(tmp_path)).off_scale()
    assert images is not None
    with pytest.raises(DataError, match=r"can't read image .*a\.png") as caught:
        images[0]
    assert "on_bad_image" not in str(caught.value)


@pytest.mark.parametrize(("most", "ends"), [(2 / 30, False), (0.05, True)])
def test_too_many_end_the_run(root: Path, most: float, ends: bool) -> None:
    data = module(root, on_bad_image="skip", max_bad_fraction=most, val_file=None)
    if not ends:
        data.setup("fit")
        return
    with pytest.raises(DataError, match=r"2 of 30 images .* more than data.max_bad_fraction=0.05 allows") as caught:
        data.setup("fit")
    assert f"{EMPTY}: unreadable" in str(caught.value)


def test_a_wrong_folder_leaves_none(tmp_path: Path) -> None:
    file = make_list_dataset(tmp_path / "there", 12, name="train.txt")
    data = ListDataModule(root=str(tmp_path), train_file=str(file), test_file=str(file), on_bad_image="skip")
    with pytest.raises(DataError, match=r"12 of 12 images of the train list can't be read, which leaves none; look at"):
        data.setup("fit")


def test_what_is_not_looked_for_can_not_be_skipped(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"set data.check_images=full"):
        module(root, on_bad_image="skip", check_images="none").setup("fit")
    with pytest.raises(ConfigError, match="has no images to skip"):
        FeatureListDataModule(root=str(root), train_file="train.txt", on_bad_image="skip")
    with pytest.raises(ConfigError, match="cache=memory has no images to keep"):
        FeatureListDataModule(root=str(root), train_file="train.txt", cache="memory")
