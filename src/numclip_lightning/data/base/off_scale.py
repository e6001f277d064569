"""Images that are known not to be on the scale, for testing whether a score tells them from those that are."""

from pathlib import Path

from numclip_lightning.data.base.dataset import OrdinalDataset
from numclip_lightning.data.base.labels import Label, LabelTable, read_labels, unlabelled
from numclip_lightning.errors import DataError, MissingListError
from numclip_lightning.images.folders import IMAGE_SUFFIXES, scan_folder
from numclip_lightning.images.loading import Reading
from numclip_lightning.images.transforms import ImageTransform

__all__ = ["off_scale_dataset"]


def off_scale_dataset(
    place: str | Path, root: str | None, transform: ImageTransform, reading: Reading | None = None
) -> OrdinalDataset:
    """Return the images of a folder or a list, without targets.

    Args:
        place: A folder, which is searched with its subfolders, or a list with or without labels; labels are not used.
        root: Folder that the entries of a list are relative to; None is the list's own.
        transform: How images are made.
        reading: How image files are read; None takes the defaults.

    Raises:
        DataError: If there is no such file or folder, it has fewer than 2 images, or the list can't be read.
    """
    place = Path(place).expanduser()
    if place.is_dir():
        scan = scan_folder(place, recursive=True)
        table = LabelTable(Label(image.relative_to(place).as_posix(), (), None, 0, image) for image in scan.images)
    elif place.is_file() and place.suffix.lower() not in IMAGE_SUFFIXES:
        table = unlabelled(read_labels(place, labelled=False))
    else:
        raise MissingListError(
            f"data.off_scale_file={str(place)!r} is neither a list nor a folder of images; correct it, relative to the "
            "working directory."
        )
    if len(table) < 2:
        raise DataError(f"data.off_scale_file={str(place)!r} has {len(table)} images; give 2 or more.")
    return OrdinalDataset(table, root or (place if place.is_dir() else place.parent), transform, reading=reading)
