"""Rows of predictions: every digit, one reading of each row, and files that grow batch by batch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.errors import RunError, format_number
from numclip_lightning.methods.base.types import Prediction
from numclip_lightning.runs.rows import Layout, RowsFile, columns, float32_text, rows_of
from numclip_lightning.scale import OrdinalScale

HOUSES = OrdinalScale(
    minimum=0, maximum=3_000_000, levels=[{"phrase": "cheap", "start": 0}, {"phrase": "dear", "start": 1_000_000}]
)


@pytest.mark.parametrize(
    ("number", "text"),
    [(1631484.0, "1631484"), (1234567.25, "1234567.25"), (3.5, "3.5"), (0.1 + 0.2, "0.30000000000000004")],
)
def test_a_number_of_a_list_keeps_its_digits(number: float, text: str) -> None:
    assert format_number(number) == text
    assert float(text) == number


@pytest.mark.parametrize(("number", "text"), [(1631484.125, "1631484.1"), (0.1, "0.1"), (3, "3")])
def test_a_computed_number_has_the_digits_of_its_precision(number: float, text: str) -> None:
    assert float32_text(np.float32(number)) == text
    assert np.float32(text) == np.float32(number)


def test_what_is_not_a_number_is_written_as_that() -> None:
    assert float32_text(np.float32("nan")) == "nan"


def table(*targets: float) -> LabelTable:
    return LabelTable(Label(f"{i}.png", (target,), None, i + 1, Path("list.csv")) for i, target in enumerate(targets))


def test_the_phrase_is_that_of_the_value_and_the_most_probable_one_has_its_own_column() -> None:
    batch = Prediction(
        index=torch.tensor([0]),
        value=torch.tensor([1631484.125]),
        level=torch.tensor([0]),
        probabilities=torch.tensor([[0.6, 0.4]]),
        spread=torch.tensor([2.5]),
        read=torch.empty(1, 0),
    )
    heading = columns(HOUSES, Layout(targets=True))
    ((index, cells),) = rows_of(batch, table(1631484.0), HOUSES, Layout(targets=True))
    assert index == 0
    assert dict(zip(heading, cells, strict=True)) == {
        "path": "0.png",
        "target": "1631484",
        "true_phrase": "dear",
        "value": "1631484.1",
        "error": "0.1",
        "phrase": "dear",
        "most_probable": "cheap",
        "p(cheap)": "0.6",
        "p(dear)": "0.4",
    }


class TestFile:
    def test_a_finished_batch_is_on_the_disk(self, tmp_path: Path) -> None:
        file = RowsFile(tmp_path / "out.csv", ["path", "value"], 0)
        file.append([(0, ["a.png", "1"]), (1, ["b.png", "2"])])
        assert file.part.read_text(encoding="utf-8").splitlines() == ["index,path,value", "0,a.png,1", "1,b.png,2"]
        assert not (tmp_path / "out.csv").exists()
        file.discard()

    def test_an_earlier_file_stays_until_the_new_one_is_whole(self, tmp_path: Path) -> None:
        (tmp_path / "out.csv").write_text("old", encoding="utf-8")
        file = RowsFile(tmp_path / "out.csv", ["path"], 0)
        file.append([(0, ["a.png"])])
        assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "old"
        file.finish(file.read())
        file.discard()
        assert (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines() == ["path", "a.png"]
        assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]

    def test_rows_of_several_processes_are_sorted_and_each_is_there_once(self, tmp_path: Path) -> None:
        file = RowsFile(tmp_path / "out.csv", ["path"], 0)
        assert file.finish([(2, ["c"]), (0, ["a"]), (1, ["b"]), (0, ["a"])]) == 3
        file.discard()
        assert (tmp_path / "out.csv").read_text(encoding="utf-8").split() == ["path", "a", "b", "c"]

    def test_a_row_that_a_full_disk_has_cut_short_is_left_out(self, tmp_path: Path) -> None:
        file = RowsFile(tmp_path / "out.csv", ["path", "value"], 0)
        file.append([(0, ["a\nb.png", "1.5"]), (1, ["c.png", "2.25"])])
        content = file.part.read_bytes()
        file.part.write_bytes(content[: content.index(b"2.25") + 2])
        assert file.read() == [(0, ["a\nb.png", "1.5"])]

    def test_rows_whose_place_cannot_be_written_are_kept_and_named(self, tmp_path: Path) -> None:
        (tmp_path / "out.csv").mkdir()
        file = RowsFile(tmp_path / "out.csv", ["path"], 0)
        file.append([(0, ["a.png"])])
        rows = file.read()
        with pytest.raises(RunError, match=r"out.csv can't be written: .* Its 1 rows are kept in out.csv.part\*"):
            file.finish(rows)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.csv.part0"]
        assert file.part.read_text().splitlines() == ["index,path", "0,a.png"]


def test_groups_have_a_column_where_the_list_has_them() -> None:
    labels = LabelTable(Label(f"{i}.png", (5.0,), group, i + 1, Path("x")) for i, group in enumerate(["Ann", None]))
    batch = Prediction(
        index=torch.arange(2),
        value=torch.ones(2),
        level=torch.zeros(2, dtype=torch.int64),
        probabilities=torch.ones(2, 2) / 2,
        spread=torch.ones(2),
        read=torch.empty(2, 0),
    )
    layout = Layout(targets=True, groups=True, select_on=True)
    heading = columns(HOUSES, layout)
    rows = [dict(zip(heading, cells, strict=True)) for _, cells in rows_of(batch, labels, HOUSES, layout)]
    assert [(row["group"], row["select_on"]) for row in rows] == [("Ann", "test"), ("", "test")]
