"""Files that may not be read or written: the superuser may do all, so that a test gives that up for a while."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOBODY = 65_534


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Yield a folder that every user may enter and read, unlike those of pytest; it is removed at the end."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user without rights if this is the superuser; others stay who they are."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)
