"""Lists as Excel, pandas, R and Hugging Face write them, in files."""

import logging
from pathlib import Path

import pytest

from numclip_lightning.data.base.labels import read_labels
from numclip_lightning.errors import DataError

ROWS = [("000.png", 3.5), ("001.png", 2.0), ("002.png", 1.5)]
PLAIN = "path,score\n000.png,3.5\n001.png,2.0\n002.png,1.5\n"


def read(folder: Path, text: str | bytes, name: str = "list.csv", **options: str) -> list[tuple[str, float]]:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [(label.path, label.target) for label in read_labels(file, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (PLAIN, "list.csv"),
        ("sep=;\n" + PLAIN.replace(",", ";"), "list.csv"),
        ('"sep=,"\r\n' + PLAIN.replace("\n", "\r\n"), "list.csv"),
        (PLAIN.replace(",", ";"), "list.txt"),
        (PLAIN.replace(",", "|"), "list.csv"),
        (PLAIN.replace(",", "\t"), "list.tsv"),
        ("path;score\n000.png;3,5\n001.png;2,0\n002.png;1,5\n", "list.csv"),
        ("000.png;3,5\n001.png;2,0\n002.png;1,5\n", "list.csv"),
        (PLAIN.encode("utf-16"), "list.txt"),
        # pandas with its index, R's write.csv and write.table, with and without quotes.
        (",path,score\n0,000.png,3.5\n1,001.png,2.0\n2,002.png,1.5\n", "list.csv"),
        ('"","path","score"\n"1","000.png",3.5\n"2","001.png",2\n"3","002.png",1.5\n', "list.csv"),
        ('"path" "score"\n"1" "000.png" 3.5\n"2" "001.png" 2\n"3" "002.png" 1.5\n', "list.txt"),
        ("path score\n1 000.png 3.5\n2 001.png 2\n3 002.png 1.5\n", "list.txt"),
        ('"path"\t"score"\n"1"\t"000.png"\t3.5\n"2"\t"001.png"\t2\n"3"\t"002.png"\t1.5\n', "list.txt"),
        # Excel writes empty cells at the end.
        ("path,score\n000.png,3.5,,\n001.png,2.0,,\n002.png,1.5,,\n", "list.csv"),
        ('path,score,note\n000.png,3.5,"a\nb"\n001.png,2.0,"a, b"\n002.png,1.5,""\n', "list.csv"),
        ('{"file_name": "000.png", "score": 3.5}\n{"file_name": "001.png", "score": 2}\n\n'
         '{"score": 1.5, "file_name": "002.png", "more": null}\n', "metadata.jsonl"),
        ('[{"path": "000.png", "score": 3.5}, {"path": "001.png", "score": 2}, {"path": "002.png", "score": 1.5}]',
         "list.json"),
        ('{"path": {"0": "000.png", "1": "001.png", "2": "002.png"}, "score": {"0": 3.5, "1": 2.0, "2": 1.5}}',
         "pandas.json"),
        ('{"columns": ["path", "score"], "index": [0, 1, 2], '
         '"data": [["000.png", 3.5], ["001.png", 2], ["002.png", 1.5]]}', "pandas.json"),
        ('{"path": "000.png", "score": 3.5}\n{"path": "001.png", "score": 2}\n{"path": "002.png", "score": 1.5}\n',
         "lines.json"),
        ('{"image": {"path": "000.png", "bytes": null}, "score": 3.5}\n{"image": {"path": "001.png"}, "score": 2}\n'
         '{"image": {"path": "002.png"}, "score": 1.5}\n', "metadata.jsonl"),
        # Tabs, or quotes, around decimal commas: Excel and Google Sheets in half of Europe.
        ("path\tscore\n000.png\t3,5\n001.png\t2\n002.png\t1,500\n", "list.tsv"),
        ('path,score\n000.png,"3,5"\n001.png,2\n002.png,"1,5"\n', "list.csv"),
        ("# exported in May\n\npath,score\n000.png,3.5\n001.png,2.0\n002.png,1.5\n", "list.csv"),
        ("# exported in May\n000.png 3.5\n001.png 2.0\n002.png 1.5\n", "list.txt"),
        ("Image Name,width,Score\n000.png,9,3.5\n001.png,9,2.0\n002.png,9,1.5\n", "list.csv"),
        # Two columns need no usual name.
        ("path,kl_grade\n000.png,3.5\n001.png,2.0\n002.png,1.5\n", "list.csv"),
        ("photo/file,mean.score\n000.png,3.5\n001.png,2.0\n002.png,1.5\n", "list.csv"),
        ('"photo.file";"MOS (1/5)"\n000.png;3,5\n001.png;2\n002.png;1,5\n', "list.csv"),
    ],
)  # fmt: skip
def test_dialects(text: str | bytes, name: str, tmp_path: Path) -> None:
    assert read(tmp_path, text, name) == ROWS


def test_quoted_line_breaks_keep_the_line_numbers(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text('path,score,note\na.png,1,"x\ny"\nb.png,2,z\n')
    assert [label.line for label in read_labels(tmp_path / "list.csv")] == [2, 4]


def test_headers_of_dots_and_slashes_can_be_named(tmp_path: Path) -> None:
    text = '"image.path","ratings/mean","n"\n000.png,3.5,7\n001.png,2.0,8\n002.png,1.5,9\n'
    assert read(tmp_path, text, path_column="image.path", target_column="ratings/mean") == ROWS


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (b"PK\x03\x04rest", "list.xlsx", "is a ZIP archive, not a list; unpack it, or save the list as CSV"),
        (b"\xd0\xcf\x11\xe0rest", "list.xlsx", r"an old one of Excel \(\.xls\), or one with a password; save"),
        (b"anything", "list.xls", r"list\.xls is a workbook of LibreOffice, .* as CSV \(UTF-8\)"),
        (b"PAR1...", "list.parquet", "can't be read as Parquet"),
        (b"\x1f\x8b\x08rest", "list.csv.gz", "is compressed; unpack it"),
        ("<!DOCTYPE html>\n<html>", "list.csv", "is a web page, not a list"),
        ("version https://git-lfs.github.com/spec/v1\n", "list.csv", "is a pointer of Git LFS.*git lfs pull"),
        ('path,price\na.png,"950,000"\n', "list.csv", "2: label '950,000' is not a number.*thousands without a comma"),
        ('path,price\na.png,"1,950,000"\n', "list.csv", "write thousands without separators, such as 1200000"),
        ("path;price\na.png;1.950.000\n", "list.csv", "write thousands without separators, such as 1200000"),
        ("path,price\na.png,$950\n", "list.csv", r"label '\$950' is not a number.*without units and signs"),
        ("path,grade\na.png,mild\n", "list.csv", "label 'mild' is not a number.*words name ordered grades"),
        ("path,grade\na.png,\n", "list.csv", "label '' is not a number.*unknown: remove the line, or label it"),
        ("path,score,stdv,spread\na.png,3,1,2\n", "list.csv", "'stdv', 'spread' could each be the spread column"),
        ('{"path": "a.png", "age": 3, "age": 4}\n', "list.jsonl", r"list\.jsonl:1: an object has 'age' twice"),
        ('{"path": "a.png", "age": {"mean": 3}}\n', "list.jsonl", "1: 'age' is an object; give a path or a number"),
        ('{"images": [1, 2], "note": "x"}', "list.json", r"pandas writes it with to_json\(orient='records'\)"),
        ("000.png 3,5\n", "list.txt", "label '3,5' is not a number.*write a decimal comma as a point"),
        ('path,score\n"a.png,1\nb.png,2\n', "list.csv", r"list\.csv:2: .*quotation mark that isn't closed"),
        ('{"path": "a.png"\n', "list.jsonl", r"list\.jsonl:1: this is no JSON"),
        ("[1, 2]\n", "list.jsonl", r"list\.jsonl:1: expected a JSON object for each entry"),
        ("path,height,width\na.png,3,4\n", "list.csv", "can't tell the target column.*, set data.target_column"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_words(text: str | bytes, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, text, name)


def test_json_keeps_the_digits(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"path": "a.png", "price": 1234567.25}\n{"path": "a.png", "price": 1234567.75}\n'
    )
    with pytest.raises(DataError, match=r"'a\.png' is labelled 1234567\.75, but line 1 labels it 1234567\.25"):
        read_labels(tmp_path / "a.jsonl", target_column="price")


@pytest.mark.parametrize(("written", "spread"), [("0", 0.0), ("0.0", 0.0), ("", None), ("NA", None), ("1.5", 1.5)])
def test_a_spread_of_zero_or_none(written: str, spread: float | None, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"path,score,stdv\na.png,3,{written}\nb.png,3,1\n")
    assert read_labels(tmp_path / "list.csv")[0].spread == spread
    assert read_labels(tmp_path / "list.csv", spread_column="none")[1].spread is None


def test_optional_columns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "list.csv").write_text(PLAIN)
    with pytest.raises(DataError, match="no column group_column='patient'"):
        read_labels(tmp_path / "list.csv", group_column="patient")
    labels = read_labels(tmp_path / "list.csv", group_column="patient", optional=("group",))
    assert {label.group for label in labels} == {None}
