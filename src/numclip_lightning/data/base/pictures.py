"""A few images of a list as pixels, for pages that show them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from numclip_lightning.data.base.labels import Label
from numclip_lightning.data.base.lookup import find_files
from numclip_lightning.errors import DataError
from numclip_lightning.images.loading import Reading, load_rgb

__all__ = ["load_pictures"]


def load_pictures(
    root: str | Path, listed: Sequence[str], wanted: Sequence[str], reading: Reading | None = None
) -> Mapping[str, NDArray[np.uint8]]:
    """Load images of a list.

    Args:
        root: The folder that the paths are relative to.
        listed: All paths of the list, since they are looked up together, see `find_files`.
        wanted: Those to load.
        reading: How image files are read.

    Returns:
        The pixels, (H, W, 3), of each that is there and can be read.
    """
    labels = [Label(path, (), None, line, Path("list")) for line, path in enumerate(listed, 1)]
    files = dict(zip(listed, find_files(root, labels).files, strict=True))
    found = {}
    for path in dict.fromkeys(wanted):
        try:
            found[path] = load_rgb(files[path], reading)
        except (DataError, KeyError):
            continue
    return found
