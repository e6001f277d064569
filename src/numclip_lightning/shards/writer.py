"""Shards of rows that grow batch by batch, and are whole up to the last batch wherever a process is killed."""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["NOT_FINITE", "ShardWriter", "finish"]

NOT_FINITE = b"not_finite"
"""Where a shard says how many of its values are not finite, and the path of the first."""
_REASON = "_reason"
# The columns that hold words; all others hold numbers, which are float32 as methods compute them.
_TEXTS = {"path", "phrase", "most_probable", "true_phrase", "phrases_in_set", "group", "select_on", "rejected", "shows"}


class ShardWriter:
    """Writes the rows of one process, in the order of the input.

    Args:
        folder: A folder that `ShardFolder.open` has opened, in whichever process.
        heading: The columns, `path` among them; the shards have them after `index`.
        size: The most images of a shard, 1 or more.
    """

    def __init__(self, folder: Path, heading: Sequence[str], size: int) -> None:
        import pyarrow as pa

        self._folder, self._size = folder, size
        self._heading = list(heading)
        fields = [(name, pa.string() if _is_text(name) else pa.float32()) for name in self._heading]
        self._schema = pa.schema([("index", pa.int64()), *fields, (_REASON, pa.string())])
        self._file: IO[bytes] | None = None
        self._stream: Any = None
        self._start = self._next = -1

    def append(self, rows: Iterable[tuple[int, Sequence[str]]], skipped: Mapping[int, tuple[str, str]]) -> None:
        """Write the rows of a batch, and hand them to the operating system at once.

        Args:
            rows: The index of each image, and its cells as text.
            skipped: The path and the reason of each image that has no row, by its index.
        """
        empty = [""] * len(self._heading)
        cells = {index: [index, *row, None] for index, row in rows}
        place = self._heading.index("path")
        for index, (path, reason) in skipped.items():
            cells[index] = [index, *empty[:place], path, *empty[place + 1 :], reason]
        held: list[list[Any]] = []
        for index, row in sorted(cells.items()):
            if index != self._next or index - self._start >= self._size:
                self._write(held)
                held = []
                self._begin(index)
            held.append(row)
            self._next = index + 1
        self._write(held)

    def close(self) -> None:
        """Finish the last shard; what was written so far is whole."""
        if self._file is not None:
            self._stream.close()
            self._file.close()
            self._file = None
            finish(self._path)

    @property
    def _path(self) -> Path:
        return self._folder / f"_{self._start:012d}.rows"

    def _begin(self, index: int) -> None:
        import pyarrow as pa

        self.close()
        self._start = index
        self._file = self._path.open("wb")
        self._stream = pa.ipc.new_stream(self._file, self._schema)

    def _write(self, rows: list[list[Any]]) -> None:
        import pyarrow as pa

        if not rows or self._file is None:
            return
        columns = [
            pa.array(_values(column, field), field.type)
            for field, column in zip(self._schema, zip(*rows, strict=True), strict=True)
        ]
        self._stream.write_batch(pa.record_batch(columns, schema=self._schema))
        self._file.flush()


def _is_text(name: str) -> bool:
    return name in _TEXTS or name.startswith("attribute_")


def _values(cells: Sequence[Any], field: Any) -> list[Any]:
    """Turn cells into values of a column; a missing number is null, and a name that is not UTF-8 is escaped."""
    if field.name in ("index", _REASON):
        return list(cells)
    if _is_text(field.name):
        return [text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for text in cells]
    return [float(text) if text else None for text in cells]


def finish(stream: Path) -> None:
    """Make a shard of a stream, up to its last whole batch; a stream without any is removed.

    Args:
        stream: `_START.rows`; it is removed when the shard is on the disk.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    batches = list(_whole_batches(stream))
    start = int(stream.stem.removeprefix("_"))
    # Killed between the two: the shard is there already.
    if batches and not list(stream.parent.glob(f"{start:012d}-*.parquet")):
        table = pa.Table.from_batches(batches)
        end = table["index"][-1].as_py() + 1
        is_row = pc.is_null(table[_REASON])
        left_out = table.filter(pc.invert(is_row)).select(["index", "path", _REASON])
        skipped = stream.with_name(f"_{start:012d}-{end:012d}.skipped.csv")
        if left_out.num_rows:
            _write_skipped(skipped, left_out.to_pylist())
        else:
            # Of a shard that was removed to be predicted again.
            skipped.unlink(missing_ok=True)
        rows = table.filter(is_row).drop_columns([_REASON])
        wrong = rows.filter(pc.invert(pc.fill_null(pc.is_finite(rows["value"]), False)))
        note = json.dumps([wrong.num_rows, wrong["path"][0].as_py() if wrong.num_rows else ""])
        rows = rows.replace_schema_metadata({NOT_FINITE: note.encode()})
        part = stream.with_name(f"_{start:012d}.part")
        with part.open("wb") as file:
            pq.write_table(rows, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        # When its last image was read, also where a later run finishes it.
        written = stream.stat().st_mtime_ns
        os.utime(part, ns=(written, written))
        part.replace(stream.with_name(f"{start:012d}-{end:012d}.parquet"))
    stream.unlink()


def _whole_batches(stream: Path) -> Iterator[Any]:
    import pyarrow as pa

    with stream.open("rb") as file:
        try:
            yield from pa.ipc.open_stream(file)
        except (pa.ArrowInvalid, OSError, EOFError):
            # The end that a killed process did not write.
            return


def _write_skipped(place: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with place.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows((row["index"], row["path"], row[_REASON]) for row in rows)
