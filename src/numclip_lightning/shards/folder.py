"""A folder of shards: what it holds, what is still to be done, and by which process."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from numclip_lightning.errors import ConfigError
from numclip_lightning.shards.writer import NOT_FINITE, finish

__all__ = ["Done", "Range", "ShardFolder", "divide"]

_ABOUT, _LOCK = "_prediction.json", "_lock"
# Loading processes of one that was killed hold its lock for some seconds more.
_WAIT_SECONDS = 15.0


class Range(NamedTuple):
    """Images START to END - 1 of the input; the last range of an input of unknown length has no end."""

    start: int
    end: int | None


class Done(NamedTuple):
    """What a folder holds.

    Attributes:
        rows: How many images were predicted.
        not_finite: How many of their values are not finite.
        first_not_finite: The path of the first of these; empty without any.
    """

    rows: int
    not_finite: int
    first_not_finite: str


class ShardFolder:
    """A folder of shards that one prediction writes, in one process or several, once or in several goes.

    Args:
        folder: It is made; one with other files is refused.

    Raises:
        ConfigError: If it is a file or holds something else, or pyarrow is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import pyarrow.parquet  # noqa: F401
        except ModuleNotFoundError as error:
            raise ConfigError("Parquet needs pyarrow; pip install 'numclip-lightning[lists]'.") from error
        self.folder = folder
        self._lock = FileLock(folder / _LOCK)
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is a file; shards of Parquet need a folder.")
        if folder.is_dir() and any(folder.iterdir()) and not (folder / _ABOUT).is_file():
            raise ConfigError(f"{folder} holds files that are no prediction; give an empty folder or a new one.")

    def open(self, identity: Mapping[str, Any], total: int | None) -> list[Range]:
        """Lock the folder, save what a killed process has left, and return what is still to be predicted.

        Args:
            identity: What the predictions depend on, as plain values by name: a folder of others is refused.
            total: How many images there are; None if that is not known.

        Raises:
            ConfigError: If the folder holds other predictions, or another process writes into it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=_WAIT_SECONDS)
        except Timeout:
            raise ConfigError(f"another process writes predictions into {self.folder}; give another folder.") from None
        about = self.folder / _ABOUT
        wanted = json.loads(json.dumps(identity))
        if about.is_file():
            known = json.loads(about.read_text(encoding="utf-8"))
            if other := [name for name in {**known, **wanted} if known.get(name) != wanted.get(name)]:
                raise ConfigError(
                    f"{self.folder} holds predictions with another {' and '.join(sorted(other))}; give another folder, "
                    "or remove this one."
                )
        else:
            part = about.with_suffix(".part")
            part.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
            part.replace(about)
        for left in self.folder.glob("_*.part"):
            left.unlink()
        for stream in sorted(self.folder.glob("_*.rows")):
            finish(stream)
        return self.todo(total)

    def close(self) -> None:
        """Unlock the folder."""
        self._lock.release()

    def finished(self) -> list[Range]:
        """Return what the finished shards hold, in order."""
        parts = (file.stem.split("-") for file in self.folder.glob("*-*.parquet"))
        return sorted(Range(int(start), int(end)) for start, end in parts)

    def changed(self, files: Sequence[Path]) -> dict[Path, list[Path]]:
        """Return the images that were changed after their rows were written, by the finished shard with these rows.

        What is changed while its shard grows is not found: only the end of a shard is known.

        Args:
            files: The images of the input, in its order.
        """
        found = dict[Path, list[Path]]()
        for shard in sorted(self.folder.glob("*-*.parquet")):
            written = shard.stat().st_mtime_ns
            for place in range(*map(int, shard.stem.split("-"))):
                with suppress(OSError):
                    if files[place].stat().st_mtime_ns > written:
                        found.setdefault(shard, []).append(files[place])
        return found

    def todo(self, total: int | None) -> list[Range]:
        """Return the images that no finished shard holds, in order; neighbours are one range."""
        found, place = list[Range](), 0
        for start, end in self.finished():
            if start > place:
                found.append(Range(place, start))
            place = max(place, end or 0)
        return [*found, Range(place, total)] if total is None or place < total else found

    def done(self) -> Done:
        """Count what the finished shards hold, by their footers alone."""
        import pyarrow.parquet as pq

        rows, wrong, first = 0, 0, ""
        for file in sorted(self.folder.glob("*-*.parquet")):
            about = pq.read_metadata(file)
            rows += about.num_rows
            note = json.loads((about.metadata or {}).get(NOT_FINITE, b'[0, ""]'))
            wrong, first = wrong + note[0], first or note[1]
        return Done(rows, wrong, first)

    def skipped(self) -> dict[int, tuple[str, str]]:
        """Return the path and the reason of each image that was skipped, by its index."""
        found = {}
        for shard in sorted(self.folder.glob("*-*.parquet")):
            file = shard.with_name(f"_{shard.stem}.skipped.csv")
            if not file.is_file():
                continue
            with file.open(encoding="utf-8", newline="") as lines:
                found.update({int(index): (path, reason) for index, path, reason in csv.reader(lines)})
        return found

    def heading(self) -> list[str]:
        """Return the columns of the first shard, without `index`; none if there is no shard."""
        import pyarrow.parquet as pq

        first = next(iter(sorted(self.folder.glob("*-*.parquet"))), None)
        return [] if first is None else [name for name in pq.read_schema(first).names if name != "index"]

    def first_paths(self) -> Iterator[tuple[int, str]]:
        """Yield the index and the path of the first row of each finished shard that has rows."""
        import pyarrow.parquet as pq

        for file in sorted(self.folder.glob("*-*.parquet")):
            content = pq.ParquetFile(file)
            for batch in content.iter_batches(1, columns=["index", "path"]):
                yield batch["index"][0].as_py(), batch["path"][0].as_py()
                break


def divide(ranges: Sequence[Range], total: int, processes: int, process: int) -> list[Range]:
    """Return the share of one process: a stretch of the images to do, as long as those of the others, give or take one.

    Args:
        ranges: What is to be done, all with an end.
        total: How many images they hold.
        processes: How many processes share them.
        process: Which one this is, from 0.

    Example:
        >>> divide([Range(0, 3), Range(10, 14)], 7, 2, 1)
        [Range(start=10, end=14)]
    """
    first, last = (total * number // processes for number in (process, process + 1))
    found, place = [], 0
    for start, end in ranges:
        assert end is not None
        low, high = max(first - place, 0), min(last - place, end - start)
        if low < high:
            found.append(Range(start + low, start + high))
        place += end - start
    return found
