"""Samples of several images: folders, joined paths, lines of one exam."""

from pathlib import Path
from typing import Any

import pytest
import torch

from numclip_lightning.data.views import ViewsDataModule
from numclip_lightning.errors import ConfigError, DataError
from support.fake_data import make_image


def exams(folder: Path, lines: list[str]) -> dict[str, Any]:
    for line in lines:
        make_image(folder / line.partition(",")[0])
    (folder / "list.csv").write_text("\n".join(["path,grade,exam", *lines]) + "\n")
    return {
        "root": str(folder), "train_file": "list.csv", "test_fraction": 0.3, "val_fraction": 0.3, "image_size": 8,
        "num_workers": 0, "augment": False,
    }  # fmt: skip


LINES = [f"{exam}-{eye}.png,{exam % 4},{exam}" for exam in range(12) for eye in ("left", "right")[: 1 + exam % 2]]


def test_lines_of_one_exam_are_one_sample(tmp_path: Path) -> None:
    data = ViewsDataModule(**exams(tmp_path, LINES), sample_column="exam", batch_size=4)
    data.setup("fit")
    data.setup("test")
    tables = [data.labels(split) for split in ("train", "val", "test")]
    assert sum(map(len, tables)) == 12
    for split in ("train", "val", "test"):
        dataset = data.dataset(split)
        for label, sample in zip(data.labels(split), (dataset[i] for i in range(len(dataset))), strict=True):
            exam = int(dict(label.attributes)["exam"])
            assert sample["target"] == exam % 4
            assert (~sample["image"][:, 0, 0, 0].isnan()).sum() == 1 + exam % 2
            assert label.path.split(";") == [f"{exam}-{eye}.png" for eye in ("left", "right")[: 1 + exam % 2]]
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].shape[1:] == (2, 3, 8, 8)


def test_frames_of_a_folder_are_taken_at_even_distances_in_their_order(tmp_path: Path) -> None:
    for film in range(6):
        for frame in range(11):
            make_image(tmp_path / f"film{film}" / f"frame{frame}.png")
    (tmp_path / "list.csv").write_text("path,value\n" + "".join(f"film{i},{i}\n" for i in range(6)))
    data = ViewsDataModule(root=str(tmp_path), train_file="list.csv", test_fraction=0.3, image_size=8, views=3)
    data.setup("fit")
    label = data.labels("train")[0]
    assert data.view_files(label) == [f"{label.path}/frame{n}.png" for n in (0, 5, 10)]
    assert data.dataset("train")[0]["image"].shape == (3, 3, 8, 8)


def test_paths_in_one_cell_are_views(tmp_path: Path) -> None:
    for name in "abcdef":
        make_image(tmp_path / f"{name}.png")
    (tmp_path / "list.csv").write_text("path,value\na.png;b.png,1\nc.png,2\nd.png; e.png;f.png,3\n")
    data = ViewsDataModule(root=str(tmp_path), test_file="list.csv", image_size=8, num_workers=0, batch_size=3)
    data.setup("test")
    (batch,) = data.test_dataloader()
    assert (~batch["image"][..., 0, 0, 0].isnan()).sum(dim=1).tolist() == [2, 1, 3]
    # Each is the image that a list of single images gives.
    single = data.dataset("test").images[1]["image"]
    assert torch.equal(batch["image"][0, 1], single)


def test_views_are_kept_decoded(tmp_path: Path) -> None:
    given = exams(tmp_path, LINES)
    plain, kept = (
        ViewsDataModule(**given, sample_column="exam", batch_size=20, cache=cache) for cache in ("none", "memory")
    )
    (expected,), (found,) = plain.test_dataloader(), kept.test_dataloader()
    for file in tmp_path.glob("*.png"):
        file.unlink()
    (again,) = kept.test_dataloader()
    for batch in (found, again):
        torch.testing.assert_close(batch["image"], expected["image"], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0-other.png,3,0", r"exam '0' has the target 3 here, and 0 in line 2"),
        ("new.png,3,", "'new.png' has no 'exam', which says whose view it is"),
    ],
)
def test_samples_that_contradict_themselves_are_refused(line: str, message: str, tmp_path: Path) -> None:
    data = ViewsDataModule(**exams(tmp_path, [*LINES, line]), sample_column="exam")
    with pytest.raises(DataError, match=message):
        data.setup("fit")


def test_a_missing_view_and_a_shared_one_are_named(tmp_path: Path) -> None:
    given = exams(tmp_path, LINES)
    (tmp_path / "3-right.png").unlink()
    own = {"train_file": None, "test_file": "list.csv", "test_fraction": None}
    whole = ViewsDataModule(**{**given, **own}, sample_column="exam")
    with pytest.raises(DataError, match=r"3-right.png(.|\n)*or remove their lines\.$"):
        whole.setup("test")
    with pytest.raises(ConfigError, match=r"on_bad_image=skip is for single images"):
        ViewsDataModule(**given, sample_column="exam", on_bad_image="skip")
    (tmp_path / "one.csv").write_text("path,value\n0-left.png;1-left.png,1\n")
    (tmp_path / "two.csv").write_text("path,value\n2-left.png;1-left.png,1\n")
    data = ViewsDataModule(root=str(tmp_path), train_file="one.csv", val_file="two.csv", image_size=8)
    with pytest.raises(DataError, match=r"'1-left.png' is in the train split too"):
        data.setup("fit")
