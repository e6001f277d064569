"""Shards hold each row once, in order, whatever ends the process that writes them."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from numclip_lightning.errors import ConfigError
from numclip_lightning.shards import Done, Range, ShardFolder, ShardWriter, divide
from numclip_lightning.shards import folder as folder_module

HEADING = ["path", "value", "phrase", "p(few)", "spread"]


def row(index: int, value: str = "") -> tuple[int, list[str]]:
    return index, [f"{index}.png", value or f"{index}.5", "few", "0.25", ""]


def write(folder: Path, indices: range, size: int = 4, batch: int = 3, *, close: bool = True) -> ShardWriter:
    writer = ShardWriter(folder, HEADING, size)
    for first in range(indices.start, indices.stop, batch):
        writer.append([row(index) for index in range(first, min(first + batch, indices.stop))], {})
    if close:
        writer.close()
    return writer


def opened(folder: Path, total: int | None = 10) -> tuple[ShardFolder, list[Range]]:
    shards = ShardFolder(folder)
    return shards, shards.open({"model": "a"}, total)


def test_rows_are_written_once_in_order_and_with_their_types(tmp_path: Path) -> None:
    shards, todo = opened(tmp_path / "new")
    assert todo == [Range(0, 10)]
    write(shards.folder, range(10))
    names = [file.name for file in sorted(shards.folder.glob("*.parquet"))]
    assert names == [
        "000000000000-000000000004.parquet", "000000000004-000000000008.parquet", "000000000008-000000000010.parquet",
    ]  # fmt: skip
    frame = pd.read_parquet(shards.folder)
    assert list(frame) == ["index", *HEADING]
    assert list(frame["index"]) == list(range(10))
    assert list(frame["value"]) == [index + 0.5 for index in range(10)]
    assert frame["value"].dtype == "float32"
    assert frame["spread"].isna().all()
    assert shards.todo(10) == []
    assert shards.done() == Done(10, 0, "")
    assert list(shards.first_paths()) == [(0, "0.png"), (4, "4.png"), (8, "8.png")]


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_what_a_killed_process_has_written_is_kept_up_to_the_last_whole_batch(tmp_path: Path, cut: int) -> None:
    shards, _ = opened(tmp_path / "new")
    writer = write(shards.folder, range(6), size=100, close=False)
    assert writer._file is not None
    writer._file.close()
    (stream,) = shards.folder.glob("_*.rows")
    content = stream.read_bytes()
    stream.write_bytes(content[: len(content) - cut])
    shards.close()
    again, todo = opened(shards.folder)
    kept = 6 if cut == 0 else 3
    assert todo == [Range(kept, 10)]
    write(again.folder, range(kept, 10))
    assert list(pd.read_parquet(again.folder)["index"]) == list(range(10))
    assert not list(again.folder.glob("_*.rows"))


def test_a_stream_that_has_nothing_or_is_a_shard_already_is_removed(tmp_path: Path) -> None:
    shards, _ = opened(tmp_path)
    write(shards.folder, range(4))
    (tmp_path / "_000000000000.rows").write_bytes(b"torn")
    (tmp_path / "_000000000004.rows").write_bytes(b"")
    (tmp_path / "_000000000004.part").write_bytes(b"torn")
    shards.close()
    assert opened(tmp_path)[1] == [Range(4, 10)]
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "000000000000-000000000004.parquet", "_lock", "_prediction.json",
    ]  # fmt: skip


def test_images_without_a_row_count_as_done_and_keep_their_reason(tmp_path: Path) -> None:
    shards, _ = opened(tmp_path / "new", 4)
    writer = ShardWriter(shards.folder, HEADING, 10)
    writer.append([row(0), row(2)], {1: ("1.png", "cut, short"), 3: ("3.png", "empty")})
    writer.close()
    assert list(pd.read_parquet(shards.folder)["index"]) == [0, 2]
    assert shards.skipped() == {1: ("1.png", "cut, short"), 3: ("3.png", "empty")}
    assert shards.todo(4) == []
    assert shards.done().rows == 2


def test_images_that_changed_after_their_rows_are_found_also_if_a_later_run_finishes_the_shard(tmp_path: Path) -> None:
    images = [tmp_path / f"{number}.png" for number in range(9)]
    for image in images:
        image.write_bytes(b"")
        os.utime(image, (1_000, 1_000))
    rows = tmp_path / "rows"
    shards, _ = opened(rows)
    killed = write(rows, range(6), close=False)
    assert killed._file is not None
    killed._file.close()
    shards.close()
    (stream,) = rows.glob("_*.rows")
    os.utime(stream, (2_000, 2_000))
    shards, _ = opened(rows)
    changed = [images[number] for number in (0, 4, 8)]
    for image in changed:
        os.utime(image, (3_000, 3_000))
    images[5].unlink()
    found = shards.changed(images)
    shards.close()
    assert {shard.name: files for shard, files in found.items()} == {"000000000004-000000000006.parquet": [images[4]]}


def test_values_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    shards, _ = opened(tmp_path / "new")
    writer = ShardWriter(shards.folder, HEADING, 2)
    writer.append([row(0), row(1, "nan"), row(2, "inf"), row(3)], {})
    writer.close()
    assert shards.done() == Done(4, 2, "1.png")


def test_gaps_of_several_processes_are_found(tmp_path: Path) -> None:
    shards, _ = opened(tmp_path / "new")
    write(shards.folder, range(2, 4))
    write(shards.folder, range(4, 7))
    assert shards.todo(10) == [Range(0, 2), Range(7, 10)]
    assert shards.todo(None) == [Range(0, 2), Range(7, None)]


@pytest.mark.parametrize("processes", [1, 2, 3, 5, 8])
def test_each_image_belongs_to_one_process(processes: int) -> None:
    todo = [Range(0, 2), Range(7, 10), Range(12, 14)]
    shares = [divide(todo, 7, processes, process) for process in range(processes)]
    found = [index for share in shares for start, end in share for index in range(start, end or 0)]
    assert found == [0, 1, 7, 8, 9, 12, 13]
    sizes = [sum((end or 0) - start for start, end in share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_a_folder_of_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards, _ = opened(tmp_path / "new")
    monkeypatch.setattr(folder_module, "_WAIT_SECONDS", 0.0)
    with pytest.raises(ConfigError, match="another process writes predictions"):
        opened(shards.folder)
    shards.close()
    with pytest.raises(ConfigError, match=r"predictions with another model; give another folder"):
        ShardFolder(shards.folder).open({"model": "b"}, 10)
    assert json.loads((shards.folder / "_prediction.json").read_text(encoding="utf-8")) == {"model": "a"}
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(b"")
    with pytest.raises(ConfigError, match="holds files that are no prediction"):
        ShardFolder(tmp_path / "images")
    with pytest.raises(ConfigError, match="is a file; shards"):
        ShardFolder(tmp_path / "images" / "1.png")
