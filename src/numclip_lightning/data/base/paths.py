"""Paths as lists write them."""

__all__ = ["path_key"]


def path_key(path: str) -> str:
    """The path with forward slashes and without `./`, so that two spellings of one entry compare equal."""
    path = path.replace("\\", "/")
    parts = (part for part in path.split("/") if part not in ("", "."))
    return "/" * path.startswith("/") + "/".join(parts)
