"""Faults of lists, one test each, by lines and by columns: the right numbers, or file, line and mend."""

import time
from pathlib import Path

import pytest

from numclip_lightning.data.base import long_lists
from numclip_lightning.data.base.labels import LabelTable, read_labels
from numclip_lightning.errors import DataError

AGES = [("a.jpg", 31.0), ("b.jpg", 7.0)]


@pytest.fixture(params=["lines", "columns"])
def read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    if request.param == "columns":
        monkeypatch.setattr(long_lists, "LEAST_BYTES", 0)

    def read(text: str | bytes, name: str = "list.csv", **arguments: object) -> LabelTable:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_labels(tmp_path / name, **arguments)  # type: ignore[arg-type]

    return read


TEXT = "path,age\na.jpg,31\nb.jpg,7\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TEXT.encode("utf-8-sig"), id="byte-order mark"),
        pytest.param(TEXT.encode("utf-16"), id="utf-16"),
        pytest.param(b"\xfe\xff" + TEXT.encode("utf-16-be"), id="utf-16 big"),
        pytest.param(TEXT.replace("\n", "\r\n"), id="windows"),
        pytest.param(TEXT.replace("\n", "\r"), id="old macintosh"),
        pytest.param("path,age\r\na.jpg,31\nb.jpg,7\r", id="mixed line ends"),
        pytest.param(TEXT.rstrip("\n"), id="no last line end"),
        pytest.param(TEXT + "\n\n  \n", id="blank lines at the end"),
        pytest.param(TEXT.replace(",", " , "), id="blanks around"),
        pytest.param("age,path\n31,a.jpg\n7,b.jpg\n", id="columns in other order"),
        pytest.param('path,age\n"a.jpg","31"\n"b.jpg",7\n', id="quoted"),
        pytest.param("path;age\na.jpg;31,0\nb.jpg;7,0\n", id="decimal commas"),
        pytest.param('path,age\na.jpg,31\nb.jpg,"7,0"\n', id="quoted decimal comma"),
        pytest.param("path\tage\na.jpg\t3.1e1\nb.jpg\t+7\n", id="exponent and sign"),
        pytest.param("path,age\na.jpg,31\nb.jpg,7\na.jpg,31\n", id="line twice"),
        pytest.param("PATH,Age\na.jpg,31\nb.jpg,7\n", id="capital header"),
        pytest.param("path,age,,\na.jpg,31,,\nb.jpg,7,,\n", id="empty columns"),
        pytest.param("path,age\na.jpg,31\npath,age\nb.jpg,7\n", id="header twice"),
    ],
)
def test_an_odd_list_gives_the_right_numbers(read, text: str | bytes) -> None:  # type: ignore[no-untyped-def]
    assert [(label.path, label.target) for label in read(text)] == AGES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("path,age\na.jpg,31\nb.jpg,NaN\n", r"list\.csv:3: label 'NaN' is not finite", id="nan"),
        pytest.param("path,age\na.jpg,31\nb.jpg,inf\n", r"list\.csv:3: label 'inf' is not finite", id="inf"),
        pytest.param("path,age\na.jpg,31\nb.jpg,1e400\n", r":3: label '1e400' is not finite", id="overflow"),
        pytest.param("path,age\na.jpg,31\nb.jpg,\n", r"list\.csv:3: .*remove the line, or label it", id="empty"),
        pytest.param("path,age\na.jpg,31\nb.jpg,NA\n", r"list\.csv:3: .*remove the line, or label it", id="NA"),
        pytest.param("path,age\na.jpg,31\nb.jpg,old\n", r":3: .*words name ordered grades", id="text"),
        pytest.param("path,age\na.jpg,31\nb.jpg,2024-05-01\n", r":3: .*it looks like a date", id="date"),
        pytest.param("path,age\na.jpg,31\nb.jpg,01.05.2024\n", r":3: .*it looks like a date", id="german date"),
        pytest.param("path,age\na.jpg,31\nb.jpg,5/1/2024\n", r":3: .*it looks like a date", id="american date"),
        pytest.param("path,age\na.jpg,31\nb.jpg,0x1F\n", r":3: .*not a number", id="hexadecimal"),
        pytest.param("path,age\na.jpg,31\nb.jpg,31 years\n", r":3: .*not a number", id="unit"),
        pytest.param('path,age\na.jpg,31\nb.jpg,"1,200,000"\n', r":3: .*without separators", id="thousands"),
        pytest.param(
            "path,age\na.jpg,31\nb.jpg;7\n", r":3: the line has 1 fields?, the header has 2", id="mixed marks"
        ),
        pytest.param('path,age\na.jpg,31\n"b.jpg,7\nc.jpg,8\n', r":3: .*mark that isn't closed", id="quote in path"),
        pytest.param(
            'path,age,note\na.jpg,31,"x\nb.jpg,7,y\nc.jpg,8,z\n', r":2: .*mark that isn't closed", id="quote in note"
        ),
        pytest.param(
            'path,age,note\na.jpg,31,"x\nb.jpg,7,y\nc.jpg,8,"z\n',
            r":2: .*with entries between",
            id="quotes over entries",
        ),
        pytest.param("path,age,age\na.jpg,31,32\nb.jpg,7,8\n", r"could each be the target column", id="column twice"),
        pytest.param("path,age\na.jpg,31\na.jpg,32\n", r"list\.csv:3: .*line 2 labels it 31", id="two labels"),
        pytest.param("path,age\na.jpg,31\n./a.jpg,32\n", r"list\.csv:3: .*line 2 labels it 31", id="two spellings"),
        pytest.param("path,age\na.jpg,31\n,7\n", r"list\.csv:3: the image path is empty", id="no path"),
        pytest.param("path,age\na.jpg,31\nb\0.jpg,7\n", "zero bytes", id="zero byte"),
        pytest.param("path,age\na.jpg,31\n\u00fc.jpg,7\n".encode("latin-1"), "save the list as UTF-8", id="latin-1"),
        pytest.param("path,age\n", "has a header but no entries", id="header alone"),
        pytest.param("path,age\na.jpg,31\n" + "x" * 10**7 + ",7\n", r"list\.csv:3: .*10,?000,?00", id="long path"),
        pytest.param("path,age\na.jpg,31\nb.jpg," + "9" * 10**7 + "\n", r"list\.csv:3: .*10,000,00", id="long label"),
        pytest.param("a.jpg 31\n" + "x" * 10**7 + " 7\n", r"list\.csv:2: .*10,?000,?00", id="long word"),
        pytest.param("x" * 10**7, r"list\.csv:1: .*10,?000,?00", id="one long line"),
    ],
)
def test_a_bad_list_names_file_line_and_mend(read, text: str | bytes, message: str) -> None:  # type: ignore[no-untyped-def]
    start = time.process_time()
    with pytest.raises(DataError, match=message) as caught:
        read(text)
    assert len(str(caught.value)) < 1000
    assert time.process_time() - start < 5
