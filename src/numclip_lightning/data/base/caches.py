"""Where what can be made again is kept for later runs."""

import os
from pathlib import Path

__all__ = ["caches"]


def caches(kind: str) -> Path:
    """Return the folder of a kind of things in the user's folder of caches; nothing is made.

    Args:
        kind: Such as `pixels`.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "numclip_lightning", kind)
