import logging
from collections import Counter
from pathlib import Path

import pytest

from numclip_lightning.data.base.labels import Label, LabelTable, read_labels
from numclip_lightning.data.base.parsing import parse_target
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.errors import DataError
from support.places import DATALISTS, needs_lists


def write(tmp_path: Path, text: str | bytes, name: str = "list.txt") -> Path:
    file = tmp_path / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def entries(table: LabelTable) -> list[tuple[str, tuple[float, ...], int]]:
    return [(label.path, label.targets, label.line) for label in table]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.jpg 31\nb.jpg 7\n", [("a.jpg", (31.0,), 1), ("b.jpg", (7.0,), 2)]),
        ("a.jpg 31\r\n\r\nb.jpg 7", [("a.jpg", (31.0,), 1), ("b.jpg", (7.0,), 3)]),
        ("a.jpg 31\rb.jpg 7\r", [("a.jpg", (31.0,), 1), ("b.jpg", (7.0,), 2)]),
        ("\ufeffa.png\t3.0\nb.png\t-1e-1", [("a.png", (3.0,), 1), ("b.png", (-0.1,), 2)]),
        ("a.jpg 30 31 33\n", [("a.jpg", (30.0, 31.0, 33.0), 1)]),
        ("a.jpg,30,31\n", [("a.jpg", (30.0, 31.0), 1)]),
        ("a.jpg\t30\t31\n", [("a.jpg", (30.0, 31.0), 1)]),
        ("./images/1930s_decade_b1.jpg 1930s\n", [("./images/1930s_decade_b1.jpg", (1930.0,), 1)]),
        ("my holiday  1.jpg 4\nb.jpg 5\n", [("my holiday  1.jpg", (4.0,), 1), ("b.jpg", (5.0,), 2)]),
        ("my holiday 1\t4\n", [("my holiday 1", (4.0,), 1)]),
        ('"my holiday, 1.jpg",4\n', [("my holiday, 1.jpg", (4.0,), 1)]),
        ("Paris, 1.jpg 4\n", [("Paris, 1.jpg", (4.0,), 1)]),
        ("a.jpg, 31\n", [("a.jpg", (31.0,), 1)]),
        ("0,a.jpg,31\n1,b.jpg,7\n", [("a.jpg", (31.0,), 1), ("b.jpg", (7.0,), 2)]),
        ("953417 5.5\n", [("953417", (5.5,), 1)]),
        ("id_12 5.5\n", [("id_12", (5.5,), 1)]),
        ("30601@N03/face.1.1039_o.jpg 4\n", [("30601@N03/face.1.1039_o.jpg", (4.0,), 1)]),
        ("bilder/grün\u2028x.jpg 4\n", [("bilder/grün\u2028x.jpg", (4.0,), 1)]),
    ],
)
def test_lists_without_header(tmp_path: Path, text: str, expected: list[tuple[str, tuple[float, ...], int]]) -> None:
    assert entries(read_labels(write(tmp_path, text))) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("race gender age filename database\r\n0 0 39 101157_5F39.JPG morph\r\n", [("101157_5F39.JPG", (39.0,), 2)]),
        (",race,gender,age,filename,database\r\n131,0,0,29,3_06F29.JPG,morph\r\n", [("3_06F29.JPG", (29.0,), 2)]),
        ("filename,age,stdv,database\r\nimage_4797.jpg,21,4.02,train\r\n", [("image_4797.jpg", (21.0,), 2)]),
        ("Path\tScore\na b.png\t3.0", [("a b.png", (3.0,), 2)]),
        ("path age sex\nmy  photo.jpg 31 m\nb.jpg 4 f\n", [("my  photo.jpg", (31.0,), 2), ("b.jpg", (4.0,), 3)]),
        ("path,label\na.jpg,30 31 33\n", [("a.jpg", (30.0, 31.0, 33.0), 2)]),
    ],
)
def test_lists_with_header(tmp_path: Path, text: str, expected: list[tuple[str, tuple[float, ...], int]]) -> None:
    assert entries(read_labels(write(tmp_path, text))) == expected


def test_named_columns(tmp_path: Path) -> None:
    file = write(tmp_path, "foto,note,patient,age\na.jpg,3,p1,50\nb.jpg,4,,51\n")
    table = read_labels(file, path_column="foto", target_column="note", group_column="patient")
    assert [(label.path, label.target, label.group) for label in table] == [("a.jpg", 3.0, "p1"), ("b.jpg", 4.0, None)]


def test_label_knows_its_place(tmp_path: Path) -> None:
    file = write(tmp_path, "a.jpg 30 31 33\nb.jpg 30 31\nc.jpg 5\n")
    table = read_labels(file)
    assert [label.target for label in table] == [31.0, 31.0, 5.0]
    assert table[1].where == f"{file}:2"
    assert table.sources == (file,)
    assert table.targets == (31.0, 31.0, 5.0)
    assert entries(table[1:]) == [("b.jpg", (30.0, 31.0), 2), ("c.jpg", (5.0,), 3)]


def test_without_labels(tmp_path: Path) -> None:
    table = read_labels(write(tmp_path, "a.jpg\nmy photo.jpg\n"), labelled=False)
    assert entries(table) == [("a.jpg", (), 1), ("my photo.jpg", (), 2)]
    with pytest.raises(DataError, match=r"list\.txt:1: 'a\.jpg' has no label"):
        _ = table[0].target
    assert entries(read_labels(write(tmp_path, "path\na.jpg\n", "a.csv"), labelled=False)) == [("a.jpg", (), 2)]
    assert entries(read_labels(write(tmp_path, "a.jpg 3\n"), labelled=False)) == [("a.jpg", (3.0,), 1)]
    headed = write(tmp_path, "foto\tsize\na.jpg\t9\n")
    table = read_labels(headed, path_column="foto", target_column="age", group_column="who", labelled=False)
    assert entries(table) == [("a.jpg", (), 2)]


def test_several_labels_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They may be columns of a table that lacks its header."""
    read_labels(write(tmp_path, "a.jpg,31\nb.jpg,31,0,2\nc.jpg,7,1,1\n"))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "list.txt: 2 entries have several labels, first line 2, 'b.jpg' with 31 0 2; training" in caplog.text
    assert "if they are other columns, add a header line" in caplog.text


def test_agreeing_repeats_count_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert len(read_labels(write(tmp_path, "a.jpg 3\n./a.jpg 3\nb.jpg 4\n"))) == 2
    assert "1 repeated entries are used once" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "list.txt is empty"),
        ("\n \n", "list.txt is empty"),
        ("path age\n", "has a header but no entries"),
        (b"a.jpg 3\n\xff.jpg 4\n", r"is not UTF-8 text \(byte 8\); save the list as UTF-8"),
        ("a.jpg 3\n".encode("utf-16-le"), "not a text file"),
        ("a.jpg 3\nb.jpg three\n", r"list.txt:2: label 'three' is not a number; expected a label such as 31"),
        ("a.jpg 3x 4\n", r"list.txt:1: label '3x' is not a number"),
        ("a.jpg 3,5\n", r"list.txt:1: label '3,5' is not a number"),
        ("a.jpg 1_000\n", r"label '1_000' is not a number"),
        ("a.jpg ٣\n", "label '٣' is not a number"),
        ("a.jpg,\n", r"list.txt:1: label '' is not a number"),
        ("path,age\na.jpg,\n", r"list.txt:2: label '' is not a number"),
        ("a.jpg nan\n", r"list.txt:1: label 'nan' is not finite"),
        ("a.jpg -Inf\n", r"label '-Inf' is not finite"),
        ("a.jpg 1e999\n", r"label '1e999' is not finite"),
        ("a.jpg 3\nb.jpg\n", r"list.txt:2: no label after 'b.jpg'"),
        ("3 x.jpg\n", r"list.txt:1: no label after '3 x.jpg'"),
        ("path,age\n,3\n", r"list.txt:2: the image path is empty"),
        ("path,age\na.jpg,3\nb.jpg,3,4\n", r"list.txt:3: the line has 3 fields, the header has 2"),
        ("race path age\n1 a.jpg\n", r"list.txt:2: the line has 2 fields, the header has 3"),
        (
            "a.jpg 3\nb.jpg 1\na.jpg 4\n",
            r"list.txt:3: 'a.jpg' is labelled 4, but line 1 labels it 3; remove one .*data.repeats=votes",
        ),
        (
            "bild,alter\na,3\n",
            r"can't tell the path column; the columns are 'bild', 'alter'; rename it to 'path'",
        ),
        (
            "path,alter,gewicht\na.jpg,3,4\n",
            r"can't tell the target column; the columns are 'path', 'alter', 'gewicht'; rename it",
        ),
        (
            "path,age,label\na.jpg,3,4\n",
            r"'age', 'label' could each be the target column; rename it to 'target'",
        ),
        (
            "path,file,age\na.jpg,b.jpg,4\n",
            r"'path', 'file' could each be the path column; rename it to 'path', or, with ListDataModule, set data",
        ),
    ],
)
def test_bad_lists(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_labels(write(tmp_path, text))


def test_bad_columns(tmp_path: Path) -> None:
    headed = write(tmp_path, "path,age,who,who\na.jpg,3,1,1\n")
    with pytest.raises(
        DataError, match=r"no column target_column='agee'; did you mean 'age'\?; the columns are 'path',"
    ):
        read_labels(headed, target_column="agee")
    with pytest.raises(DataError, match="'who', 'who' could each be the group column; rename one"):
        read_labels(headed, group_column="who")
    bare = write(tmp_path, "a.jpg 3\n")
    with pytest.raises(DataError, match="has no header line, so group_column='who' can't be found; add a header line"):
        read_labels(bare, group_column="who")


def test_groups_that_contradict(tmp_path: Path) -> None:
    file = write(tmp_path, "path,age,who\na.jpg,3,x\na.jpg,3,y\n")
    with pytest.raises(DataError, match=r"labelled 3 \(group 'y'\), but line 2 labels it 3 \(group 'x'\)"):
        read_labels(file, group_column="who")


def test_half_labelled_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"list.txt:2: 'b.jpg' has no label, but other lines have"):
        read_labels(write(tmp_path, "a.jpg 3\nb.jpg\n"), labelled=False)


def test_missing_or_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.txt doesn't exist"):
        read_labels(tmp_path / "nowhere.txt")
    with pytest.raises(DataError, match=r"label file .* is a folder, not a list"):
        read_labels(tmp_path)
    with pytest.raises(DataError, match=r"list.txt:1: can't split the line"):
        read_labels(write(tmp_path, "a" * 200_000 + ",3\n"))


def test_label_without_line() -> None:
    label = Label("31_0.jpg", (31.0,), None, 0, Path("faces/31_0.jpg"))
    assert label.where == str(Path("faces/31_0.jpg"))
    assert path_key(r".\images\x.jpg") == "images/x.jpg"
    assert parse_target("80s", "here") == 80.0


@needs_lists
@pytest.mark.parametrize(
    ("name", "column"),
    [
        *((f"crowdbeauty/{c}_{s}.txt", 1) for c in ("animals", "nature", "people", "urban") for s in ("train", "test")),
        *((f"hci/{decade}s.txt", 1) for decade in range(1930, 1980, 10)),
        *((f"adience/simplified_adience_{fold}.txt", 1) for fold in range(5)),
        ("morph/settingA/Setting_A_fold0_train.txt", 2),
        *((f"morph/settingA/Setting_A_fold{fold}_{s}.txt", 3) for fold in range(1, 5) for s in ("train", "test")),
        *((f"morph/settingB/Setting_B_fold{fold}.txt", 2) for fold in range(3)),
        *((f"morph/setting{s}/morph_{s}_0{fold}.txt", 1) for s in "CD" for fold in range(5)),
        ("clap2015/total_2015.csv", 1),
    ],
)
def test_published_lists(name: str, column: int) -> None:
    """Counts and histograms equal those of the plainest of parsers, which is told where the label stands."""
    lines = (DATALISTS / name).read_bytes().decode("ascii").split("\n")
    fields = [line.strip().replace("\t", " ").replace(",", " , ").split(",") for line in lines if line.strip()]
    cells = [[cell.strip() for cell in row] if len(row) > 1 else row[0].split() for row in fields]
    if not cells[0][column].rstrip("s").replace(".", "").isdigit():
        cells = cells[1:]
    expected = Counter(float(row[column].rstrip("s")) for row in cells)
    table = read_labels(DATALISTS / name)
    assert Counter(table.targets) == expected
    assert len(table) == len(cells)
    by_line = [lines[label.line - 1] for label in table]
    assert all(label.path in line for label, line in zip(table, by_line, strict=True))


@needs_lists
def test_published_counts() -> None:
    """The numbers that the reference on data formats states."""
    beauty = {
        "animals": (2635, 659, (4, 125, 1423, 1651, 91)),
        "nature": (3290, 823, (7, 153, 2835, 1091, 27)),
        "people": (2156, 539, (18, 170, 1547, 923, 37)),
        "urban": (2571, 643, (2, 130, 1995, 1002, 85)),
    }
    for category, (train, test, histogram) in beauty.items():
        tables = [read_labels(DATALISTS / "crowdbeauty" / f"{category}_{split}.txt") for split in ("train", "test")]
        assert [len(table) for table in tables] == [train, test]
        counts = Counter(target for table in tables for target in table.targets)
        assert tuple(counts[float(score)] for score in range(1, 6)) == histogram
    assert Counter(read_labels(DATALISTS / "adience/simplified_adience_0.txt").targets) == dict(
        zip(map(float, range(8)), (960, 494, 213, 152, 1646, 554, 219, 139), strict=True)
    )
    sizes = [len(read_labels(DATALISTS / f"morph/settingD/morph_D_0{fold}.txt")) for fold in range(5)]
    assert sizes == [11046, 11035, 11012, 11026, 11015]


@pytest.mark.parametrize("column", ["spread", "stdv", "Stdv"])
def test_spread(tmp_path: Path, column: str) -> None:
    (tmp_path / "list.csv").write_text(f"path,age,{column}\na.jpg,21,4.026539\nb.jpg,30,.5\n")
    table = read_labels(tmp_path / "list.csv")
    assert [(label.target, label.spread) for label in table] == [(21.0, 4.026539), (30.0, 0.5)]
    (tmp_path / "list.csv").write_text("path,age,guess\na.jpg,21,4\n")
    assert read_labels(tmp_path / "list.csv")[0].spread is None


@pytest.mark.parametrize("spread", ["-1", "inf", "wide"])
def test_a_spread_is_not_negative(tmp_path: Path, spread: str) -> None:
    (tmp_path / "list.csv").write_text(f"path,age,stdv\na.jpg,21,{spread}\n")
    with pytest.raises(DataError, match=rf"list\.csv:2: spread '{spread}' is not a standard deviation; expected"):
        read_labels(tmp_path / "list.csv")


def test_spreads_that_contradict(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,age,stdv\na.jpg,21,1\na.jpg,21,2\n")
    with pytest.raises(
        DataError, match=r":3: 'a\.jpg' is labelled 21 \(spread 2\), but line 2 labels it 21 \(spread 1\)"
    ):
        read_labels(tmp_path / "list.csv")
