"""Paths as lists write them."""

__all__ = ["LONGEST_PATH", "path_key"]

LONGEST_PATH = 4096
"""The most bytes of a path that Linux opens; other systems take fewer."""


def path_key(path: str) -> str:
    r"""Return the path with forward slashes and without `./`, so that two spellings of one entry are equal.

    Example:
        >>> path_key(".\\faces\\1.jpg")
        'faces/1.jpg'
    """
    path = path.replace("\\", "/")
    parts = (part for part in path.split("/") if part not in ("", "."))
    return "/" * path.startswith("/") + "/".join(parts)
