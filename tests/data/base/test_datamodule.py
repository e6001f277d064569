import logging
import re
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch.utils.data import SequentialSampler

from numclip_lightning.data.base import FileDataModule, LabelTable
from numclip_lightning.data.base.sampling import TrainSampler
from numclip_lightning.data.base.types import Split
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.errors import ConfigError, DataError
from support.fake_data import make_image
from support.list_data import make_three_lists, module, paths
from support.places import SHARED


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """30 training, 11 validation and 9 test images."""
    return make_three_lists(tmp_path)


def test_splits_and_batches(root: Path) -> None:
    data = module(root, batch_size=4)
    data.setup("fit")
    data.setup("test")
    assert [len(data.labels("train")), len(data.labels("val")), len(data.labels("test"))] == [30, 11, 9]
    for split, loader, sampler in (
        ("train", data.train_dataloader(), TrainSampler),
        ("val", data.val_dataloader(), SequentialSampler),
        ("test", data.test_dataloader(), SequentialSampler),
    ):
        assert isinstance(loader.sampler, sampler)
        batches = list(loader)
        table = data.labels(split)  # type: ignore[arg-type]
        assert batches[0]["image"].shape == (4, 3, 8, 8)
        assert batches[0]["image"].dtype == batches[0]["target"].dtype == torch.float32
        assert batches[0]["index"].dtype == torch.int64
        index = torch.cat([batch["index"] for batch in batches])
        target = torch.cat([batch["target"] for batch in batches])
        assert sorted(index.tolist()) == list(range(len(table)))  # the last, smaller batch is kept
        assert target.tolist() == [table[i].target for i in index.tolist()]


def test_workers_persist(root: Path) -> None:
    data = FileDataModule(root=str(root), train_file="train.txt", num_workers=2)
    assert data.train_dataloader().persistent_workers
    assert data.train_dataloader().pin_memory == torch.cuda.is_available()


# Lightning 2.6 calls what torch 2.14 deprecates, and warns of loaders without workers.
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore:.*does not have many workers")
def test_runs_under_a_trainer(root: Path, tmp_path: Path) -> None:
    seen: dict[str, list[int]] = {"val": [], "test": []}

    class Reader(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            value: torch.Tensor = self.layer(batch["image"].mean((1, 2, 3))[:, None])
            return value.mean()

        def validation_step(self, batch: dict[str, torch.Tensor]) -> None:
            seen["val"] += batch["index"].tolist()

        def test_step(self, batch: dict[str, torch.Tensor]) -> None:
            seen["test"] += batch["index"].tolist()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = L.Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        accelerator="cpu",
        default_root_dir=tmp_path,
    )
    data, model = module(root), Reader()
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    assert seen == {"val": list(range(11)), "test": list(range(9))}


def test_setup_reads_only_what_the_stage_needs(root: Path) -> None:
    (root / "test.txt").write_text("nowhere.png 3\n")
    data = module(root)
    data.setup("fit")
    data.setup("validate")
    with pytest.raises(DataError, match=r"1 of 1 images are missing.*\n.*test\.txt:1: nowhere\.png"):
        data.setup("test")
    # Before a test the other lists are read too, but not the images they name.
    for image in root.glob("train_*.png"):
        image.unlink()
    module(root, test_file="val.txt", val_file=None).setup("test")
    (root / "train.txt").write_text("bad")
    module(root).setup("validate")


def test_validation_needs_no_training_list(root: Path) -> None:
    data = FileDataModule(root=str(root), val_file="val.txt", image_size=8, num_workers=0)
    data.setup("validate")
    assert paths(data.labels("val")) == [f"val_{i:03d}.png" for i in range(11)]
    assert data.summary() == "val 11 (targets 10..19), shots 0"
    with pytest.raises(DataError, match=r"there is no train list; give train_file$"):
        FileDataModule(root=str(root)).setup("validate")


def test_validation_part(root: Path) -> None:
    data = module(root, val_file=None, val_fraction=0.2, seed=3)
    assert (len(data.labels("train")), len(data.labels("val"))) == (24, 6)
    whole = paths(module(root).labels("train"))
    assert sorted(paths(data.labels("train")) + paths(data.labels("val"))) == sorted(whole)
    assert paths(module(root, val_file=None, val_fraction=0.2, seed=3).labels("val")) == paths(data.labels("val"))
    assert paths(module(root, val_file=None, val_fraction=0.2, seed=4).labels("val")) != paths(data.labels("val"))


def test_few_shots_leave_validation_alone(root: Path) -> None:
    whole = module(root, val_file=None)
    few = module(root, val_file=None, num_shots=1)
    assert sorted(few.labels("train").targets) == [float(value) for value in range(10, 20)]
    assert paths(few.labels("val")) == paths(whole.labels("val"))
    assert set(paths(few.labels("train"))) < set(paths(whole.labels("train")))


def test_augment_may_be_switched_off(root: Path) -> None:
    data = module(root, augment=False, val_file="train.txt")
    by_index = {
        int(i): x for batch in data.train_dataloader() for i, x in zip(batch["index"], batch["image"], strict=True)
    }
    plain = torch.cat([batch["image"] for batch in data.val_dataloader()])
    assert all(torch.equal(image, plain[i]) for i, image in by_index.items())


def test_list_files_may_lie_anywhere(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("train_000.png 3\ntrain_001.png 4\n")
    monkeypatch.chdir(elsewhere)
    assert len(module(root, train_file="mine.txt").labels("train")) == 2
    assert len(module(root, train_file=str(elsewhere / "mine.txt")).labels("train")) == 2
    (elsewhere / "train.txt").write_text("train_000.png 3\ntrain_001.png 4\ntrain_002.png 4\n")
    assert len(module(root).labels("train")) == 3
    with pytest.raises(DataError, match=r"train_file='no.txt' doesn't exist; looked at no.txt and .*no\.txt"):
        module(root, train_file="no.txt").labels("train")


def test_the_home_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root.parent))
    data = FileDataModule(root=f"~/{root.name}", train_file=f"~/{root.name}/train.txt", test_file="test.txt")
    data.setup("fit")
    assert len(data.labels("test")) == 9
    with pytest.raises(ConfigError, match=r"root='~nobody_at_all/x': .*; give the path without ~"):
        FileDataModule(root="~nobody_at_all/x")


def test_summary_is_logged_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = module(root, num_shots=2)
    with caplog.at_level(logging.INFO):
        data.setup("fit")
        data.setup("validate")
    expected = "train 20 (targets 10..19), val 11 (targets 10..19), shots 2"
    assert data.summary() == expected
    assert caplog.text.count(expected) == 1


# Predicting.


def test_predict_a_folder(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "deeper"
    make_image(folder / "b.png")
    make_image(folder.parent / "a.jpg")
    (folder / "notes.txt").write_text("no image")
    data = module(root, predict_path=str(folder.parent))
    data.setup("predict")
    assert paths(data.labels("predict")) == ["a.jpg", "deeper/b.png"], "as a list of the folder would have them"
    batch = next(iter(data.predict_dataloader()))
    assert batch.keys() == {"image", "index"}
    assert data.summary() == "predict 2, shots 0"


def test_predict_an_image_or_a_list(root: Path) -> None:
    single = module(root, predict_path=str(root / "val_000.png"))
    single.setup("predict")
    assert paths(single.labels("predict")) == ["val_000.png"]
    (root / "new.txt").write_text("val_000.png\ntest_001.png\n")
    unlabelled = module(root, predict_path="new.txt")
    unlabelled.setup("predict")
    assert paths(unlabelled.labels("predict")) == ["val_000.png", "test_001.png"]
    assert "target" not in next(iter(unlabelled.predict_dataloader()))
    # A label there is no concern of a prediction's, were it ever so far outside a scale.
    labelled = module(root, predict_path="val.txt")
    assert "target" not in next(iter(labelled.predict_dataloader()))
    (root / "new.csv").write_text("path,rating\nval_000.png,poor\n")
    assert paths(module(root, predict_path="new.csv").labels("predict")) == ["val_000.png"]


def test_predict_falls_back_to_the_test_list(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = module(root)
    with caplog.at_level(logging.INFO):
        data.setup("predict")
    assert paths(data.labels("predict")) == paths(data.labels("test"))
    assert "predicting the test list" in caplog.text


def test_bad_predict_paths(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the predict split is empty: no image in predict_path="):
        module(root, predict_path=str(tmp_path / "empty")).setup("predict")
    with pytest.raises(DataError, match="predict_path='nowhere' doesn't exist"):
        module(root, predict_path="nowhere").setup("predict")
    (tmp_path / "new.txt").write_text("x.png\n")
    with pytest.raises(DataError, match=r"1 of 1 images are missing.*\n.*new.txt:1: x.png"):
        module(root, predict_path="new.txt").setup("predict")


# Lists that are missing or empty.


def test_training_without_a_test_list(root: Path) -> None:
    data = module(root, test_file=None)
    data.setup("fit")
    with pytest.raises(DataError, match=r"there is no test list; give test_file$"):
        data.setup("test")
    with pytest.raises(DataError, match=r"there is no train list; give train_file$"):
        FileDataModule(root=str(root)).setup("fit")


def test_empty_splits(root: Path) -> None:
    class Nothing(FileDataModule):
        def published(self, split: Split) -> LabelTable | None:
            return LabelTable(()) if split == "test" else None

        def expected(self, split: Split) -> str:
            return "put something there"

    with pytest.raises(DataError, match="the test split is empty; put something there"):
        Nothing(root=str(root)).setup("test")
    (root / "one.txt").write_text("train_000.png 3\n")
    with pytest.raises(DataError, match=r"can't split 1 images in two"):
        module(root, train_file="one.txt", val_file=None).setup("fit")
    (root / "none.txt").write_text("\n")
    with pytest.raises(DataError, match=r"none\.txt is empty"):
        module(root, train_file="none.txt").setup("fit")


def test_missing_images_of_both_splits_are_one_message(root: Path) -> None:
    (root / "train_007.png").unlink()
    (root / "val_002.png").write_text("no image")
    with pytest.raises(DataError, match=r"1 of 41 images are missing and 1 unreadable") as caught:
        module(root).setup("fit")
    assert re.search(
        r"train\.txt:8: train_007\.png: missing\n.*val\.txt:3: val_002\.png: unreadable", str(caught.value)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"num_workers": -1}, "num_workers=-1 must be at least 0"),
        ({"image_size": 0}, "image_size=0 must be at least 1"),
        ({"num_shots": -2}, "num_shots=-2 must be at least 0"),
        ({"val_fraction": 0.0}, "val_fraction=0.0 must be between 0 and 1, both excluded"),
        ({"val_fraction": 1.0}, "val_fraction=1.0 must be between 0 and 1"),
        ({"preprocess": "paper"}, "preprocess is 'paper'; choose one of 'clip', 'published'"),
        ({"check_images": "no"}, "check_images is 'no'; choose one of 'full', 'header', 'none'"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FileDataModule(**options)


# Anybody's lists.


def test_list_columns_and_groups(root: Path) -> None:
    rows = [f"train_{i:03d}.png,{i % 4},p{i // 3}" for i in range(30)]
    (root / "mine.csv").write_text("\n".join(["bild,note,patient", *rows]))
    data = ListDataModule(
        root=str(root),
        train_file="mine.csv",
        path_column="bild",
        target_column="note",
        group_column="patient",
        val_fraction=0.2,
    )
    data.setup("fit")
    train, val = data.labels("train"), data.labels("val")
    assert (len(train), len(val)) == (24, 6)
    assert not {label.group for label in train} & {label.group for label in val}
    (root / "new.csv").write_text("bild,patient\nval_000.png,p1\n")
    data = ListDataModule(root=str(root), predict_path="new.csv", path_column="bild", target_column="note")
    assert paths(data.labels("predict")) == ["val_000.png"]
    with pytest.raises(DataError, match="no column target_column='grade'; the columns are"):
        ListDataModule(root=str(root), train_file="mine.csv", path_column="bild", target_column="grade").setup("fit")


FACES = SHARED / "data" / "faces"


@pytest.mark.skipif(not FACES.is_dir(), reason="the face images are not beside the repository")
def test_real_faces() -> None:
    lists = {f"{split}_file": str(FACES / f"{split}.txt") for split in ("train", "val", "test")}
    data = ListDataModule(root=str(FACES / "images"), num_workers=0, image_size=64, batch_size=8, **lists)  # type: ignore[arg-type]
    data.setup("fit")
    data.setup("test")
    for split, count in (("train", 2133), ("val", 300), ("test", 500)):
        table = data.labels(split)  # type: ignore[arg-type]
        assert len(table) == count
        assert all(label.path.startswith(f"{label.target:g}_") for label in table)
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (8, 3, 64, 64)
