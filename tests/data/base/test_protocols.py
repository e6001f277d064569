"""Shift and long tail of the training part, and selection on the test list."""

from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest

from numclip_lightning.data.aesthetics import AestheticsDataModule
from numclip_lightning.data.base import FileDataModule, LabelTable
from numclip_lightning.data.base.types import SelectOn
from numclip_lightning.data.clap2015 import CLAP2015DataModule
from numclip_lightning.data.counting import CountingDataModule
from numclip_lightning.data.historical import HistoricalDataModule
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.data.morph import MorphDataModule
from numclip_lightning.errors import ConfigError, DataError
from support import list_data
from support.fake_data import make_aesthetics, make_list_dataset
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
        ({"shift_values": 2, "shift_factor": 1.5}, "shift_factor=1.5 must be between 0 and 1"),
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
def test_arguments_that_contradict_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    for kind in (FileDataModule, CountingDataModule):
        with pytest.raises(ConfigError, match=message):
            kind(**options)


# Selecting on the test list.


def test_a_dataset_whose_papers_select_on_the_test_list_can_do_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_aesthetics(tmp_path)
    usual, paper = (AestheticsDataModule(root=str(tmp_path), select_on=part) for part in get_args(SelectOn))
    usual.setup("fit")
    assert "validation images are test images" not in caplog.text
    paper.setup("fit")
    assert "select_on='test': 10 of 10 validation images are test images; the test result is too good" in caplog.text
    assert paths(paper.labels("val")) == paths(paper.labels("test")) == paths(usual.labels("test"))
    assert len(paper.labels("train")) == len(usual.labels("train")) + len(usual.labels("val"))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (HistoricalDataModule, {}),
        (CLAP2015DataModule, {}),
        (AestheticsDataModule, {"fold": 0}),
        (MorphDataModule, {"setting": "C"}),
    ],
)
def test_a_dataset_whose_papers_do_not_select_on_the_test_list_refuses_it(
    kind: type[FileDataModule], options: dict[str, Any]
) -> None:
    message = rf"select_on='test': the papers of these data \({kind.__name__}\) don't select on the test set; leave"
    with pytest.raises(ConfigError, match=message):
        kind(select_on="test", **options)


def test_lists_of_ones_own_may_select_on_the_test_list() -> None:
    assert ListDataModule(select_on="test").select_on == "test"
    assert MorphDataModule(select_on="test", setting="ET").select_on == "test"
    own = HistoricalDataModule(select_on="test", train_file="train.txt", test_file="test.txt")
    assert own.select_on == "test"


def test_a_misspelt_selection_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"select_on is 'tets'; choose one of 'val', 'test'; did you mean 'test'"):
        FileDataModule(select_on="tets")  # type: ignore[arg-type]


def test_selecting_on_the_test_list_needs_one(tmp_path: Path) -> None:
    make_aesthetics(tmp_path)
    (tmp_path / "labels" / "people_test.txt").unlink()
    with pytest.raises(DataError, match="there is no test list; give test_file, or put people_test"):
        AestheticsDataModule(root=str(tmp_path), select_on="test").setup("fit")


def test_generated_scenes_have_no_such_choice() -> None:
    with pytest.raises(TypeError, match="select_on"):
        CountingDataModule(select_on="test")  # type: ignore[call-arg]
