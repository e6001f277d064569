"""Lists and vectors that are packed: what unpacks to gigabytes is refused, in words, before it is unpacked."""

import io
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from numclip_lightning.data.base import matlab, vectors, workbooks
from numclip_lightning.data.base.labels import read_labels
from numclip_lightning.data.base.matlab import read_matlab
from numclip_lightning.data.base.tar_index import read_index
from numclip_lightning.data.base.vectors import read_array, read_named
from numclip_lightning.errors import DataError


def header(shape: tuple[int, ...]) -> bytes:
    """Return a `.npy` that claims numbers it does not have."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


def packed(**parts: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def test_a_parquet_file_of_few_bytes_and_many_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = 50_000
    once = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * 1000]))
    for name, column in (("dictionary", once), ("text", once.dictionary_decode())):
        parquet.write_table(pa.table({"path": column, "age": np.zeros(rows)}), tmp_path / name, compression="zstd")
        assert (tmp_path / name).stat().st_size < 1_000_000
    del once, column
    monkeypatch.setattr(workbooks, "MAX_UNPACKED", 5_000_000)
    for name in ("dictionary", "text"):
        before = pa.total_allocated_bytes()
        with pytest.raises(DataError, match=rf"{name} unpacks to more than a list has .* images themselves"):
            read_labels(tmp_path / name)
        assert pa.total_allocated_bytes() - before < 1_000_000
    parquet.write_table(pa.table({"path": pa.nulls(2_000_000), "age": pa.nulls(2_000_000)}), tmp_path / "nothing")
    with pytest.raises(DataError, match="unpacks to more than a list has"):
        read_labels(tmp_path / "nothing")


def test_a_parquet_file_with_texts_written_once_is_read(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    site = pa.array(["a", "b", "a"] * 1000).dictionary_encode()
    paths = [f"{number}.png" for number in range(3000)]
    parquet.write_table(pa.table({"path": paths, "age": np.arange(3000.0), "site": site}), tmp_path / "list.parquet")
    labels = read_labels(tmp_path / "list.parquet", attributes=["site"])
    assert [label.path for label in labels] == paths
    assert list(labels.targets) == list(range(3000))
    assert [dict(label.attributes)["site"] for label in labels][:4] == ["a", "b", "a", "a"]


def test_a_long_sheet_takes_time_by_its_rows_alone(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["path", "age", "note"], ["a.png", 31], [], ["b.png", 7, "x"], ["c.png", 8]):
        book.active.append(row)
    book.save(tmp_path / "list.xlsx")
    assert [(label.path, label.target) for label in read_labels(tmp_path / "list.xlsx")] == [
        ("a.png", 31), ("b.png", 7), ("c.png", 8),
    ]  # fmt: skip
    start = time.process_time()
    lines = workbooks._lines([["path", "age", "note"], *([f"{number}.png", "3"] for number in range(30_000))])
    # Half a minute where each row looks at all others.
    assert time.process_time() - start < 1
    assert {len(line.fields) for line in lines} == {3}


UNREADABLE: dict[str, tuple[str, bytes]] = {
    "no archive": ("a.npz", b"PK\x03\x04" + b"0" * 100),
    "one array": ("a.npz", header((3,)) + bytes(12)),
    "a terabyte in it": ("a.npz", packed(path=header((10**12,)), features=header((10**12,)))),
    "damaged": ("a.npz", packed(path=header((3,)) + bytes(12))[:-90] + bytes(90)),
    "a terabyte": ("a.npy", header((10**12,))),
    "cut short": ("a.npy", header((3,))[:-1]),
}


@pytest.mark.parametrize("fault", UNREADABLE)
def test_vectors_that_can_not_be_read_are_refused(fault: str, tmp_path: Path) -> None:
    name, content = UNREADABLE[fault]
    (tmp_path / name).write_bytes(content)
    read: Callable[[Path], object] = read_named if name.endswith(".npz") else read_array
    with pytest.raises(DataError, match=rf"{name} can't be read"):
        read(tmp_path / name)
    assert read_index(content, "target", None) is None


def test_vectors_that_unpack_to_gigabytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, numbers = np.array([f"{number}.png" for number in range(1000)]), np.zeros((1000, 1000), np.float32)
    np.savez_compressed(tmp_path / "a.npz", path=names, features=numbers)
    assert read_named(tmp_path / "a.npz")["7.png"].shape == (1000,), "zeros, but few"
    monkeypatch.setattr(vectors, "MAX_UNPACKED", 1_000_000)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"a\.npz can't be read \(it unpacks to 0\.0 GB\)"):
        read_named(tmp_path / "a.npz")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_matlab_variables_that_unpack_to_gigabytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scipy = pytest.importorskip("scipy.io")
    numbers = np.zeros((1000, 1000))
    for compressed in (True, False):
        scipy.savemat(tmp_path / "a.mat", {"x": numbers, "y": 3.0}, do_compression=compressed)
        assert read_matlab(tmp_path / "a.mat", "x").shape == (1000, 1000)
    scipy.savemat(tmp_path / "a.mat", {"y": 3.0, "x": numbers}, do_compression=True)
    monkeypatch.setattr(matlab, "MAX_UNPACKED", 1_000_000)
    with pytest.raises(DataError, match=r"a\.mat.* unpacks to 0\.0 GB, more than a table has"):
        read_matlab(tmp_path / "a.mat", "y")
    (tmp_path / "b.mat").write_bytes((tmp_path / "a.mat").read_bytes()[:200])
    with pytest.raises(DataError, match=r"b\.mat: this is no MATLAB file that can be read"):
        read_matlab(tmp_path / "b.mat", "y")
