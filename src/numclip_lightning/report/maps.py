"""Maps of images as a run has written them: `maps/maps.csv` names a picture and numbers for each path."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.images.heat import heat_of

__all__ = ["HeatMap", "map_files", "read_map"]

_FOLDER, _LIST = "maps", "maps.csv"


class HeatMap(NamedTuple):
    """The map of an image.

    Attributes:
        pixels: The image under the colours of its places, (H, W, 3).
        low: The least number that a place reads.
        high: The largest.
    """

    pixels: NDArray[np.uint8]
    low: float
    high: float


def map_files(folder: Path) -> Mapping[str, Path]:
    """Return the file of each image's map, by the image's path, without its ending; empty if a run has written none.

    Args:
        folder: The run folder.

    Raises:
        DataError: If the list of maps can't be read.
    """
    listed = folder / _FOLDER / _LIST
    if not listed.is_file():
        return {}
    try:
        frame = pd.read_csv(listed, dtype=str, keep_default_na=False, encoding_errors="surrogateescape")
        return {path: listed.parent / name for path, name in zip(frame["path"], frame["map"], strict=True)}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{listed} can't be read as a list of maps ({error!r}); delete it, or test again.") from error


def read_map(file: Path) -> HeatMap:
    """Read a map.

    Args:
        file: Its files, without their ending.

    Raises:
        DataError: If they are gone, or are none.
    """
    try:
        numbers = np.load(file.with_name(f"{file.name}.npy"), allow_pickle=False).astype(np.float64)
        with Image.open(file.with_name(f"{file.name}.png")) as picture:
            pixels = np.asarray(heat_of(picture))
    except (OSError, ValueError, ConfigError) as error:
        raise DataError(f"the map {file} can't be read: {error}") from error
    finite = numbers[np.isfinite(numbers)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (np.nan, np.nan)
    return HeatMap(pixels, low, high)
