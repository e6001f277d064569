"""Paths as lists write them, and the files that they name."""

import os
from pathlib import Path

__all__ = ["path_key", "resolve"]


def path_key(path: str) -> str:
    """The path with forward slashes and without `./`, so that two spellings of one entry compare equal."""
    path = path.replace("\\", "/")
    parts = (part for part in path.split("/") if part not in ("", "."))
    return "/" * path.startswith("/") + "/".join(parts)


def resolve(root: str | Path, path: str) -> Path:
    r"""Find the image that a list names.

    Public lists carry the folders of their authors (`../../datasets/Morph/image/x.JPG`, `C:\faces\x.jpg`), so the
    name is also looked for in `root` and in `root/image`.

    Args:
        root: Folder that the entries of the list are relative to.
        path: The entry as written; an absolute path is used as it is.

    Returns:
        The first that exists of `root/path`, `root/basename` and `root/image/basename`; `root/path` if none does.
    """
    # Strings, not `Path`s: this runs for every entry of long lists, several times.
    key = path_key(path)
    name = key.rsplit("/", 1)[-1]
    candidates = [os.path.join(root, *parts) for parts in ((path,), (key,), (name,), ("image", name))]  # noqa: PTH118
    found = next(filter(os.path.isfile, candidates), candidates[1])
    return Path(os.path.normpath(found))
