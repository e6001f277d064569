"""Lists that are no text, ids without suffixes, and numbers that could be read in two ways."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from numclip_lightning.data.base.labels import read_labels
from numclip_lightning.errors import DataError

FRAME = pd.DataFrame({"file_name": ["a.png", "b.png"], "price": [1234567.25, 950000.0], "house": ["h1", None]})


def rows(
    file: Path, *, target_column: str | None = None, group_column: str | None = None
) -> list[tuple[str, float, str | None, int]]:
    found = read_labels(file, target_column=target_column, group_column=group_column)
    return [(label.path, label.target, label.group, label.line) for label in found]


class TestWorkbooks:
    def test_of_pandas(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        FRAME.to_excel(tmp_path / "list.xlsx")
        assert rows(tmp_path / "list.xlsx", target_column="price", group_column="house") == [
            ("a.png", 1234567.25, "h1", 2),
            ("b.png", 950000.0, None, 3),
        ]
        assert "1 of 2 entries have no group in the column 'house', first line 3" in caplog.text

    def test_of_several_sheets_the_first_with_entries_is_read(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pd.ExcelWriter(tmp_path / "list.xlsx") as book:
            pd.DataFrame().to_excel(book, sheet_name="cover", index=False)
            FRAME.to_excel(book, sheet_name="train", index=False)
            FRAME.to_excel(book, sheet_name="test", index=False)
        assert len(rows(tmp_path / "list.xlsx", target_column="price")) == 2
        assert "has 2 sheets; the first, 'train', is read" in caplog.text

    def test_whatever_the_suffix_and_with_decimal_commas_as_text(self, tmp_path: Path) -> None:
        pd.DataFrame({"path": ["a.png", "b.png"], "score": ["3,5", "4"]}).to_excel(tmp_path / "a.xlsx", index=False)
        (tmp_path / "a.xlsx").rename(tmp_path / "list.csv")
        assert rows(tmp_path / "list.csv") == [("a.png", 3.5, None, 2), ("b.png", 4.0, None, 3)]

    def test_faults_have_the_row_of_excel(self, tmp_path: Path) -> None:
        pd.DataFrame({"path": ["a.png", "b.png"], "score": [1, None]}).to_excel(tmp_path / "a.xlsx", index=False)
        with pytest.raises(DataError, match=r"a\.xlsx:3: label '' is not a number"):
            read_labels(tmp_path / "a.xlsx")

    @pytest.mark.parametrize("name", ["list.xlsx", "list.parquet"])
    def test_without_the_package_there_is_the_command(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / name
        FRAME.to_excel(file) if name.endswith("xlsx") else FRAME.to_parquet(file)
        monkeypatch.setitem(sys.modules, "openpyxl", None)
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(
            DataError, match=r"pip install 'numclip-lightning\[lists\]', or save the (sheet|list) as CSV"
        ):
            read_labels(file)


class TestParquet:
    def test_of_pandas_with_an_index_and_short_floats(self, tmp_path: Path) -> None:
        frame = FRAME.astype({"price": "float32"}).set_index(pd.Index(["x", "y"]))
        frame.assign(price=[3.3, 4]).astype({"price": "float32"}).to_parquet(tmp_path / "list.parquet")
        assert rows(tmp_path / "list.parquet", target_column="price") == [
            ("a.png", 3.3, None, 1),
            ("b.png", 4.0, None, 2),
        ]

    def test_of_hugging_face(self, tmp_path: Path) -> None:
        file, images = tmp_path / "list.parquet", [{"bytes": None, "path": "a.png"}, {"bytes": None, "path": "b.png"}]
        pd.DataFrame({"image": images, "label": [3, 4]}).to_parquet(file)
        assert rows(file) == [("a.png", 3.0, None, 1), ("b.png", 4.0, None, 2)]
        pd.DataFrame({"image": [{"bytes": b"PNG", "path": "a.png"}], "label": [3]}).to_parquet(file)
        with pytest.raises(DataError, match="the column 'image' holds the images themselves; save them as files"):
            read_labels(file)


@pytest.mark.parametrize("header", ["id,label", "image_id,label", "photo,score,note", "key,label"])
def test_ids_need_no_suffix(header: str, tmp_path: Path) -> None:
    note = ",x" if header.count(",") > 1 else ""
    (tmp_path / "list.csv").write_text(f"{header}\n0001,3{note}\n0002,4{note}\n")
    assert rows(tmp_path / "list.csv") == [("0001", 3.0, None, 2), ("0002", 4.0, None, 3)]


@pytest.mark.parametrize(("first", "second", "warned"), [("950.000", "875.500", True), ("3.125", "4", False)])
def test_what_may_be_thousands_between_semicolons_is_said(
    first: str, second: str, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "list.csv").write_text(f"path;price\na.png;{first}\nb.png;{second}\n")
    assert rows(tmp_path / "list.csv", target_column="price")[0][1] == float(first)
    assert ("every number is like 950.000 and is read as 950.000; if these are thousands, write 950000"
            in caplog.text) == warned  # fmt: skip


@pytest.mark.parametrize("unknown", ["", "NA", "NaN", "None"])
def test_an_unknown_group_is_none(unknown: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "list.csv").write_text(f"path,target,patient\na.png,3,{unknown}\nb.png,4,{unknown}\nc.png,4,p1\n")
    assert [row[2] for row in rows(tmp_path / "list.csv", group_column="patient")] == [None, None, "p1"]
    assert "2 of 3 entries have no group in the column 'patient', first line 2" in caplog.text
