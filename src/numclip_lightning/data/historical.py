"""Historical Color Images (Palermo et al., ECCV 2012): photographs of five decades, 1930s to 1970s."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from numclip_lightning.data.base.folds import check_fold, split_each_value
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.data.base.pools import PoolDataModule
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import DataError
from numclip_lightning.images.loading import list_images

__all__ = ["HistoricalDataModule", "historical_fold"]

DECADES = (1930, 1940, 1950, 1960, 1970)
FOLDS = 10
# Images per decade in the papers: 210 for training, 5 for validation, 50 for testing.
_SIZES = (210, 5, 50)
_ORIGINAL = "HistoricalColor-ECCV2012/data/imgs/decade_database"


@dataclass(kw_only=True, eq=False, repr=False)
class HistoricalDataModule(PoolDataModule):
    """Historical Color Images by the papers' protocol: ten random folds of 210 / 5 / 50 images per decade.

    The papers' own folds were never published; ours are made from `split_seed` and `fold` (see `historical_fold`). The
    images are found by one list per decade in `root` (`1930s.txt` to `1970s.txt`), or by the folders of the original
    archive (`HistoricalColor-ECCV2012/data/imgs/decade_database/1930s`) or `1930s` to `1970s` in `root`. If any
    list file is given, only the list files count. The other arguments are those of `PoolDataModule` and
    `FileDataModule`.

    Args:
        fold: Which of the ten folds, 0 to 9.
    """

    fold: int = 0

    def validate_arguments(self) -> None:
        """Check the fold also."""
        super().validate_arguments()
        check_fold(self.fold, FOLDS)

    def divide(self, pool: LabelTable) -> Mapping[Split, Sequence[Label]]:
        """Draw the fold."""
        return historical_fold(pool, self.fold, self.split_seed)

    def expected(self, split: Split) -> str:
        """Name the lists and folders of the decades."""
        return f"put the lists 1930s.txt to 1970s.txt, or the folders 1930s to 1970s, into {self.root!r}"

    def read_pool(self) -> LabelTable:
        """Return the images of all decades, from their lists or else their folders."""
        return LabelTable(self._read_decades())

    def _read_decades(self) -> list[Label]:
        files = {decade: self.search(f"{decade}s.txt") for decade in DECADES}
        if any(files.values()):
            _refuse_gaps(files, self.root)
            return list(self._read_lists(files))
        for folder in (Path(self.root, _ORIGINAL), Path(self.root)):
            folders = {decade: path if (path := folder / f"{decade}s").is_dir() else None for decade in DECADES}
            if any(folders.values()):
                _refuse_gaps(folders, folder)
                return list(self._read_folders(folders))
        return []

    def _read_lists(self, files: dict[int, Path | None]) -> Iterable[Label]:
        for decade, file in files.items():
            for label in self.read_list(file) if file else ():
                if label.targets != (float(decade),):
                    given = " ".join(f"{target:g}" for target in label.targets)
                    raise DataError(
                        f"{label.where}: {label.path!r} is labelled {given} in the list of the {decade}s; correct the "
                        "line, or move it to the list of its decade"
                    )
                yield label

    def _read_folders(self, folders: dict[int, Path | None]) -> Iterable[Label]:
        for decade, folder in folders.items():
            images = list_images(folder) if folder else []
            if not images:
                raise DataError(f"{folder} has no image; put those of the {decade}s there, all five decades are needed")
            for image in images:
                yield Label(str(image.relative_to(self.root)), (float(decade),), None, 0, image)


def historical_fold(labels: Sequence[Label], fold: int, seed: int) -> dict[Split, list[Label]]:
    """Divide the images of each decade 210 / 5 / 50; other numbers of images keep these proportions.

    The draw depends on `seed`, `fold` and the images' own keys (the md5 sum in their names), not on the order of the
    list or on the spelling of the decade in the file names. Folds are independent draws, so their test sets overlap.

    Args:
        labels: The images of all decades.
        fold: Number of the fold.
        seed: Seed of the series of folds.

    Returns:
        The labels of each split, in the order of their decades and keys.

    Raises:
        DataError: If a decade has fewer than three images.
    """
    return split_each_value(labels, _SIZES, fold, seed, key=lambda label: _md5_key(label.path))


def _md5_key(path: str) -> str:
    """Return the key `b166b3` of `./images/1930s_decade_b166b3.jpg` and of `1930s/1930s_b166b3.jpg`, the same image."""
    return PurePosixPath(path_key(path)).stem.rsplit("_", 1)[-1]


def _refuse_gaps(found: dict[int, Path | None], place: str | Path) -> None:
    if missing := [f"{decade}s" for decade, path in found.items() if path is None]:
        raise DataError(f"the decades {', '.join(missing)} are missing in {str(place)!r}; all five are needed")
