"""Images in folders whose names are their numbers: `train/0/a.png`, `train/KL3/b.png`."""

import logging
import re
from pathlib import Path

from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.lookup import below
from numclip_lightning.data.base.numerals import is_number
from numclip_lightning.data.base.parsing import parse_target
from numclip_lightning.errors import DataError
from numclip_lightning.images.folders import scan_folder

__all__ = ["read_graded_folder"]

_log = logging.getLogger(__name__)


def read_graded_folder(folder: Path, root: str | Path) -> LabelTable:
    """Read the images below a folder, each labelled with the number in the name of its subfolder.

    A name is a number (`3`, `-1`, `2.5`, `1930s`) or has one in it (`KL3`, `3 severe`). Where images are deeper, one of
    the folders on the way has a number.

    Args:
        folder: An existing folder.
        root: Images below it are named from there on, others from `folder` on.

    Returns:
        The images, sorted by path. The image is the source of its label.

    Raises:
        DataError: If no image is found, or a folder has no number in its name, or several.
    """
    scan = scan_folder(folder, recursive=True)
    if scan.left_out:
        _log.warning("%s: %d images; left out: %s", folder, len(scan.images), scan.left_out)
    places: dict[Path, tuple[float, str]] = {}
    labels = []
    for image in scan.images:
        place = image.parent
        if place not in places:
            path = below(root, image, image.relative_to(folder).as_posix())
            places[place] = _number(place, folder), path.removesuffix(image.name)
        number, prefix = places[place]
        labels.append(Label(prefix + image.name, (number,), None, 0, image))
    return LabelTable(labels)


def _number(place: Path, folder: Path) -> float:
    """Return the one number in the names of the folders from `folder` on."""
    found = [number for name in place.relative_to(folder).parts for number in _numbers_in(name)]
    if len(found) == 1:
        return parse_target(found[0], str(place))
    fault = f"several numbers ({', '.join(found)})" if found else "no number"
    raise DataError(
        f"{place}: the folder's name has {fault}, where the images of a folder are labelled by it; name the folders "
        "0, 1, 2 and so on, or give a list of paths and numbers"
    )


def _numbers_in(name: str) -> list[str]:
    # A dash is a sign only where the whole name is a number: `grade-3` is 3.
    return [name] if is_number(name) else re.findall(r"\d+(?:\.\d+)?", name)
