"""What datamodules keep of their training part, and whether they select on the test list."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from numclip_lightning.data.aesthetics import AestheticsDataModule
from numclip_lightning.data.base import FileDataModule, LabelTable
from numclip_lightning.data.counting import CountingDataModule
from numclip_lightning.data.historical import HistoricalDataModule
from numclip_lightning.data.morph import MorphDataModule
from numclip_lightning.errors import ConfigError, DataError
from support import list_data
from support.fake_data import make_aesthetics, make_historical, make_list_dataset
from support.list_data import paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """60 training and 20 test images, of ten values."""
    make_list_dataset(tmp_path, 60, name="train.txt")
    make_list_dataset(tmp_path, 20, name="test.txt")
    return tmp_path


def module(root: Path, **options: Any) -> FileDataModule:
    return list_data.module(root, **{"val_file": None, "check_images": "none", **options})


def counts(table: LabelTable) -> list[int]:
    return sorted(Counter(table.targets).values(), reverse=True)


def test_a_shift_acts_on_training_alone(root: Path) -> None:
    whole, shifted = module(root), module(root, shift_values=3, shift_factor=0.2)
    for split in ("val", "test"):
        assert paths(shifted.labels(split)) == paths(whole.labels(split))
    sizes = counts(whole.labels("train"))
    assert counts(shifted.labels("train")) == sorted([*sizes[3:], *(max(1, n // 5) for n in sizes[:3])], reverse=True)
    shifted.setup("fit")
    assert shifted.summary().endswith("shots 0, the 3 most frequent values cut to 0.2")


def test_a_long_tail_acts_on_training_alone(root: Path) -> None:
    whole, tailed = module(root), module(root, long_tail=5)
    assert paths(tailed.labels("val")) == paths(whole.labels("val"))
    most = counts(whole.labels("train"))[0]
    assert counts(tailed.labels("train")) == [
        min(size, round(most * 5 ** (-i / 9))) for i, size in enumerate(counts(whole.labels("train")))
    ]
    tailed.setup("fit")
    assert tailed.summary().endswith("shots 0, long tail 5")


def test_scenes_are_shifted_too() -> None:
    def counting(**options: Any) -> CountingDataModule:
        return CountingDataModule(num_train=300, num_val=20, num_test=20, **options)

    # Counts are drawn evenly in the logarithm: it takes a long tail to be longer than theirs.
    whole, tailed = counting(), counting(long_tail=10_000)
    sizes = counts(whole.labels("train"))
    expected = [min(n, max(1, round(sizes[0] * 1e4 ** (-i / (len(sizes) - 1))))) for i, n in enumerate(sizes)]
    assert counts(tailed.labels("train")) == sorted(expected, reverse=True)
    assert sum(expected) < 300
    assert len(tailed.labels("val")) == len(tailed.labels("test")) == 20
    assert len(counting(shift_values=5, shift_factor=0.1).labels("train")) < 300
    batch = next(iter(tailed.train_dataloader()))
    assert batch["target"].tolist() == [tailed.labels("train")[i].target for i in batch["index"].tolist()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift_values": -1, "shift_factor": 0.5}, "shift_values=-1 must be at least 0"),
        ({"shift_values": 2, "shift_factor": 1.5}, "shift_factor=1.5 must lie between 0 and 1"),
        ({"shift_values": 2}, r"shift_values=2 and shift_factor=1.0 work together alone; give both"),
        ({"shift_factor": 0.1}, r"shift_values=0 and shift_factor=0.1 work together alone"),
        ({"long_tail": 0.5}, "long_tail=0.5 must be a number of at least 1"),
        ({"long_tail": float("inf")}, "long_tail=inf must be a number of at least 1"),
        ({"long_tail": 10, "num_shots": 4}, "num_shots=4 and long_tail=10 each choose the training images; give one"),
        (
            {"shift_values": 2, "shift_factor": 0.1, "num_shots": 4},
            "num_shots=4 and shift_values=2 each choose the training images",
        ),
    ],
)
def test_what_contradicts_itself(options: dict[str, Any], message: str) -> None:
    for kind in (FileDataModule, CountingDataModule):
        with pytest.raises(ConfigError, match=message):
            kind(**options)


# Selecting on the test list.


def test_the_paper_protocol_is_a_name_for_selecting_on_the_test_list(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_aesthetics(tmp_path)
    clean = AestheticsDataModule(root=str(tmp_path))
    clean.setup("fit")
    assert clean.protocol_in_force() == "clean"
    assert "validation images are test images" not in caplog.text
    paper = AestheticsDataModule(root=str(tmp_path), protocol="paper")
    by_hand = AestheticsDataModule(root=str(tmp_path), allow_test_as_val=True)
    for data, name in ((paper, "protocol='paper'"), (by_hand, "allow_test_as_val")):
        caplog.clear()
        data.setup("fit")
        assert paths(data.labels("val")) == paths(data.labels("test")) == paths(clean.labels("test"))
        assert len(data.labels("train")) == len(clean.labels("train")) + len(clean.labels("val"))
        assert data.protocol_in_force() == "paper"
        assert f"{name}: 10 of 10 validation images are test images; the test result is too good" in caplog.text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"val_file": "test.txt", "allow_test_as_val": True}, "paper"),
        ({"allow_test_as_val": True}, "paper"),
        ({"val_file": "other.txt", "allow_test_as_val": True}, "clean"),
        ({"test_file": None, "allow_test_as_val": True}, "clean"),
        ({}, "clean"),
    ],
)
def test_permission_alone_does_not_make_it_so(root: Path, options: dict[str, Any], expected: str) -> None:
    make_list_dataset(root, 5, name="other.txt")
    assert module(root, **options).protocol_in_force() == expected


def test_where_the_papers_do_not_it_is_refused(tmp_path: Path) -> None:
    message = r"protocol='paper': the papers of these data \(HistoricalDataModule\) don't select on the test set; leave"
    make_historical(tmp_path)
    with pytest.raises(ConfigError, match=message):
        HistoricalDataModule(root=str(tmp_path), protocol="paper")
    with pytest.raises(ConfigError, match=r"\(AestheticsDataModule\) don't select on the test set"):
        AestheticsDataModule(protocol="paper", fold=0)
    with pytest.raises(ConfigError, match=r"\(MorphDataModule\) don't select on the test set"):
        MorphDataModule(protocol="paper", setting="C")
    MorphDataModule(protocol="paper", setting="ET")
    with pytest.raises(ConfigError, match=r"protocol is 'papre'; choose one of 'clean', 'paper'; did you mean 'paper'"):
        FileDataModule(protocol="papre")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"protocol='paper' validates on the test list; leave val_file='v\.txt' out"):
        AestheticsDataModule(protocol="paper", val_file="v.txt")


def test_the_paper_protocol_needs_a_test_list(tmp_path: Path) -> None:
    make_aesthetics(tmp_path)
    (tmp_path / "labels" / "people_test.txt").unlink()
    with pytest.raises(DataError, match="there is no test list; give test_file, or put people_test"):
        AestheticsDataModule(root=str(tmp_path), protocol="paper").setup("fit")


def test_scenes_are_always_clean() -> None:
    assert CountingDataModule().protocol_in_force() == "clean"
