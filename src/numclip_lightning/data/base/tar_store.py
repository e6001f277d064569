"""Tar shards wherever they are: remote ones are fetched when they are needed, into a bounded folder."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from numclip_lightning.data.base.tar_index import (
    INDEX_SUFFIX,
    ShardIndex,
    index_shard,
    name_of,
    read_index,
    write_index,
)
from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.progress import watched

__all__ = ["TarStore", "expand", "library"]


def library() -> Any:
    """Return WebDataset.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import webdataset
        import webdataset.cache
        import webdataset.shardlists
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"tar shards need {error.name}; install it with pip install 'numclip-lightning[shards]'."
        ) from error
    return webdataset


def expand(pattern: str) -> list[str]:
    """Return the shards of a pattern with braces, such as `https://HOST/train-{0000..0099}.tar`, or of a folder.

    Args:
        pattern: Several are joined by `::`; a folder stands for its `.tar` files, sorted.

    Raises:
        ConfigError: If it names a shard twice.
        DataError: If a folder has none.
    """
    found: list[str] = []
    for part in pattern.split("::"):
        place = Path(part).expanduser()
        if place.is_dir():
            own = sorted(str(file) for file in place.glob("*.tar"))
            if not own:
                raise DataError(f"{part} has no .tar files; numclip shards writes some.")
            found += own
        else:
            urls = library().shardlists.expand_urls(part)
            found += [url if "://" in url else os.path.expanduser(url) for url in urls]  # noqa: PTH111
    if twice := next((url for url in found if found.count(url) > 1), None) if len(set(found)) < len(found) else None:
        raise ConfigError(f"{pattern} names {twice} twice.")
    return found


class TarStore:
    """Shards and their indices.

    Args:
        folder: Where remote shards and indices are kept.
        most_bytes: What remote shards may take there; those fetched first are removed for others.
    """

    def __init__(self, folder: Path, most_bytes: float) -> None:
        self.folder, self._most_bytes = folder, most_bytes
        self._cache: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": None}

    def fetch(self, url: str) -> Path:
        """Return the file of a shard, fetched if it is remote and not here.

        Raises:
            DataError: If it can't be had.
        """
        if "://" not in url:
            return Path(url)
        if self._cache is None:
            place = str(self.folder / "shards")
            self._cache = library().cache.FileCache(
                place, url_to_name=name_of, cache_size=int(self._most_bytes), cache_cleanup_interval=0
            )
        file = self.folder / "shards" / name_of(url)
        if file.exists():
            return file
        self.folder.mkdir(parents=True, exist_ok=True)
        # The loading processes of a node fetch it once.
        with FileLock(self.folder / f"{name_of(url)}.lock"):
            return Path(self._ask(url, lambda: self._cache.get_file(url)))

    def indices(self, urls: Sequence[str], field: str) -> list[ShardIndex]:
        """Return the index of each shard: the one beside it, one that was made before, or one that is made now.

        Args:
            urls: The shards.
            field: The name of the number in `.json`.

        Raises:
            DataError: If a shard can't be had or read.
        """
        return [self._index(url, field) for url in watched(urls, len(urls), "reading shards", "shard")]

    def _index(self, url: str, field: str) -> ShardIndex:
        remote, size, time_ns = "://" in url, None, 0
        if not remote:
            try:
                status = Path(url).stat()
            except OSError as error:
                raise DataError(f"the shard {url} can't be read: {error.strerror}.") from error
            size, time_ns = status.st_size, status.st_mtime_ns
        own = self.folder / "indices" / f"{name_of(url)}{INDEX_SUFFIX}"
        if known := _kept(own, field, size, time_ns):
            return known
        if found := read_index(self._beside(url), field, size):
            if remote:
                write_index(own, replace(found, time_ns=0), field)
            return found
        own.parent.mkdir(parents=True, exist_ok=True)
        # The processes of a node read a shard once.
        with FileLock(own.with_name(f"{own.name}.lock")):
            if known := _kept(own, field, size, time_ns):
                return known
            found = index_shard(self.fetch(url), url, field)
            write_index(own, found, field)
            return found

    def _beside(self, url: str) -> bytes:
        """Return the index that lies beside a shard; empty if there is none."""
        if "://" not in url:
            place = Path(url + INDEX_SUFFIX)
            shard = Path(url)
            fresh = place.is_file() and place.stat().st_mtime >= shard.stat().st_mtime
            return place.read_bytes() if fresh else b""
        try:
            with library().gopen(url + INDEX_SUFFIX) as stream:
                found: bytes = stream.read()
                return found
        except (OSError, ValueError):
            return b""

    @staticmethod
    def _ask(url: str, get: Callable[[], str]) -> str:
        try:
            return get()
        except (OSError, ValueError, AssertionError) as error:
            raise DataError(f"the shard {url} can't be fetched: {error}") from error


def _kept(place: Path, field: str, size: int | None, time_ns: int) -> ShardIndex | None:
    """Return the index that was made of a shard before; None if there is none, or the shard has changed since."""
    known = read_index(place.read_bytes(), field, size) if place.is_file() else None
    return known if known and known.time_ns == time_ns else None
