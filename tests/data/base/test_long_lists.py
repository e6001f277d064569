"""Long lists are read into columns; they must say the same as the reader of single lines, of good and of bad lists."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from numclip_lightning.data.base import long_lists
from numclip_lightning.data.base.checking import report_rounding
from numclip_lightning.data.base.dataset import OrdinalDataset
from numclip_lightning.data.base.labels import LabelTable, read_labels, unlabelled
from numclip_lightning.data.base.lookup import find_files
from numclip_lightning.errors import DataError
from numclip_lightning.images.transforms import build_transform
from support.fake_data import make_list_dataset

NAMED = "path,age,person,stdv,sex\na/1.jpg,31,p1,2.5,f\nb/2.jpg,4,p2,0,m\nb/3.jpg,4.25,p1,1e-1,f\n"
PLAIN = [
    ("path,age\na.jpg,31\nb.jpg,7\n", {}),
    ("path,age\r\na.jpg,31\r\nb.jpg,7.5", {}),
    ("path\tage\na b.jpg\t31\nb.jpg\t-7\n", {}),
    ("path,age\n a.jpg ,31\n\u00a0grün.jpg,7\n", {}),
    ("a.jpg,31\nb.jpg,7\n", {}),
    ("a.jpg\t31\nb.jpg\t7\n", {}),
    ("id,score\n17,3.5\n18,2\n", {"path_column": "id"}),
    (NAMED, {}),
    (NAMED, {"group_column": "person", "attributes": ["sex"]}),
    (NAMED, {"spread_column": "none", "target_column": "age", "labelled": False}),
    ("path\na.jpg\nb.jpg\n", {"labelled": False}),
    ("a.jpg\nb.jpg\n", {"labelled": False}),
    ("path,age,chance\na.jpg,31,0.5\nb.jpg,7,1\n", {"propensity_column": "chance"}),
    ("path,age\na.jpg,+31\nb.jpg,7\n", {}),
]
ODD = [
    ("path,age\na.jpg,31\n\nb.jpg,7\n", {}),
    ("path,age\na.jpg,31\n./a.jpg,31\n", {}),
    ("path,age\na.jpg,31\nx\\a.jpg,31\nx/a.jpg,31\n", {}),
    ("path,age\na.jpg,31\na.jpg,30\n", {}),
    ("path,age\na.jpg,31\nb.jpg,old\n", {}),
    ("path,age\na.jpg,31\nb.jpg,nan\n", {}),
    ("path,age\na.jpg,31\nb.jpg,\n", {}),
    ("path,age\na.jpg,31\n,7\n", {}),
    ("path,age\na.jpg,31\nb.jpg,7,8\n", {}),
    ("path,age\na.jpg,31\nb.jpg,7 8\n", {}),
    ("path,age\na.jpg,1930s\nb.jpg,1940s\n", {}),
    ("path\tage\na.jpg\t3,5\nb.jpg\t4,5\n", {}),
    ('path,age\n"a, b.jpg",31\nb.jpg,7\n', {}),
    ("path,age,stdv\na.jpg,31,\nb.jpg,7,2\n", {}),
    ("path,age,stdv\na.jpg,31,-1\nb.jpg,7,2\n", {}),
    ("path,age,person\na.jpg,31,p\nb.jpg,7,NA\n", {"group_column": "person"}),
    ("path,age,chance\na.jpg,31,1.5\nb.jpg,7,1\n", {"propensity_column": "chance"}),
    ("path,age\na.jpg,31\nb.jpg,7\n", {"group_column": "person"}),
    ("# in May\npath,age\na.jpg,31\n", {}),
    ("\ufeffpath,age\na.jpg,31\nb.jpg,7\n", {}),
    ("path,age\ra.jpg,31\rb.jpg,7\r", {}),
    ("0,a.jpg,31\n1,b.jpg,7\n", {}),
    ("a.jpg 31\nb.jpg 7\n", {}),
    ("path;age\na.jpg;31\nb.jpg;3,5\n", {}),
    ("path,age\n", {}),
    ("a.jpg,31,32\nb.jpg,7,8\n", {}),
]


def read(file: Path, arguments: dict[str, Any]) -> tuple[LabelTable | None, str, list[object]]:
    try:
        table = read_labels(file, **arguments)
    except DataError as error:
        return None, str(error), []
    return table, "", list(table)


@pytest.mark.parametrize(("text", "arguments", "plain"), [(*c, True) for c in PLAIN] + [(*c, False) for c in ODD])
def test_a_list_says_the_same_by_columns(
    text: str, arguments: dict[str, Any], plain: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    file = tmp_path / "list.csv"
    file.write_bytes(text.encode())
    expected, error, labels = read(file, arguments)
    said = caplog.messages.copy()
    caplog.clear()
    monkeypatch.setattr(long_lists, "LEAST_BYTES", 0)
    table, again, found = read(file, arguments)
    assert (again, found, caplog.messages) == (error, labels, said)
    if table is None or expected is None:
        return
    assert (table.columns is not None) == plain
    assert table.targets == expected.targets
    assert (table.sources, table.attributes, table.has_spread) == (
        expected.sources, expected.attributes, expected.has_spread,
    )  # fmt: skip
    assert list(table[1:]) == labels[1:]
    assert table[-1] == labels[-1]
    assert list(unlabelled(table)) == list(unlabelled(expected))
    with pytest.raises(IndexError):
        table[len(table)]


def test_a_list_in_columns_trains_as_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_list_dataset(tmp_path, 5, size=(20, 20))
    lines = (tmp_path / "list.txt").read_text().splitlines()
    file = tmp_path / "list.csv"
    file.write_text("\n".join(["path,age", *(",".join(line.rsplit(maxsplit=1)) for line in lines)]))
    transform = build_transform(8, "clip", train=False)
    plain = OrdinalDataset(read_labels(file), tmp_path, transform)
    monkeypatch.setattr(long_lists, "LEAST_BYTES", 0)
    long = OrdinalDataset(read_labels(file), tmp_path, transform)
    assert long.labels.columns is not None
    # As a spawned loading process receives it.
    for other in (long, pickle.loads(pickle.dumps(long))):
        assert list(other.files) == list(plain.files)
        for index in range(len(plain)):
            for name, expected in plain[index].items():
                torch.testing.assert_close(other[index][name], expected, rtol=0, atol=0)


def test_images_of_a_long_list_are_found_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_list_dataset(tmp_path, 3, size=(8, 8))
    names = [line.split()[0] for line in (tmp_path / "list.txt").read_text().splitlines()]
    file = tmp_path / "list.csv"
    file.write_text("path,age\n" + "".join(f"elsewhere/{Path(name).name},3\n" for name in names))
    monkeypatch.setattr(long_lists, "LEAST_BYTES", 0)
    table = read_labels(file)
    assert table.columns is not None
    assert find_files(tmp_path, table) == find_files(tmp_path, tuple(table))


def test_digits_that_are_lost_are_reported_of_long_lists_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(long_lists, "LEAST_BYTES", 0)
    file = tmp_path / "list.csv"
    file.write_text("path,age\na.jpg,3\nb.jpg,3.123456789\n")
    report_rounding(read_labels(file))
    assert "1 targets have more digits" in caplog.text
    assert f"{file}:3" in caplog.text
