"""Paths of list entries, and the files that they refer to."""

import os
from pathlib import Path

__all__ = ["path_key", "resolve"]


def path_key(path: str) -> str:
    r"""Return the path with forward slashes and without `./`, so that two spellings of one entry are equal.

    Example:
        >>> path_key(".\\faces\\1.jpg")
        'faces/1.jpg'
    """
    path = path.replace("\\", "/")
    parts = (part for part in path.split("/") if part not in ("", "."))
    return "/" * path.startswith("/") + "/".join(parts)


def resolve(root: str | Path, path: str) -> Path:
    r"""Find the image of a list entry.

    Public lists carry the folders of their authors (`../../datasets/Morph/image/x.JPG`, `C:\faces\x.jpg`), so the
    name is also looked for in `root` and in `root/image`.

    Args:
        root: Folder that the entries of the list are relative to.
        path: The entry as in the list; an absolute path is used unchanged.

    Returns:
        The first existing file of `root/path`, `root/basename` and `root/image/basename`; `root/path` if there is none.
    """
    # Strings, not `Path`s: this runs several times for every entry of long lists.
    key = path_key(path)
    name = key.rsplit("/", 1)[-1]
    candidates = [os.path.join(root, *parts) for parts in ((path,), (key,), (name,), ("image", name))]  # noqa: PTH118
    found = next(filter(os.path.isfile, candidates), candidates[1])
    return Path(os.path.normpath(found))
