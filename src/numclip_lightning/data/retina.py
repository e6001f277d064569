"""Diabetic retinopathy: photographs of the retina, graded 0 (none) to 4 (proliferative), by a table such as APTOS's."""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from numclip_lightning.data.base.dialects import read_header
from numclip_lightning.data.base.labels import Label, LabelTable, read_labels
from numclip_lightning.data.base.pools import DrawnDataModule
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import DataError
from numclip_lightning.images.loading import IMAGE_SUFFIXES, list_images

__all__ = ["RetinaDataModule"]

_FOLDERS = ("train_images", "test_images", "images")
_PATIENT_COLUMNS = frozenset({"patient", "patient_id"})
# EyePACS names both eyes of a patient: 10_left and 10_right.
_EYE = re.compile(r"(?P<patient>.+)_(?:left|right)", re.IGNORECASE)


@dataclass(kw_only=True, eq=False, repr=False)
class RetinaDataModule(DrawnDataModule):
    """Retina images by a table of ids and grades: `train.csv` with `id_code,diagnosis`, as APTOS 2019 has it.

    The table is searched for in `root`; an image is found by its id with any suffix, in `root` or in its folders
    `train_images`, `test_images` and `images`. Both eyes of a patient stay together: patients come from the column
    `patient` or `patient_id` if there is one, or from ids such as `10_left` and `10_right`. APTOS's own test grades
    were never published: a part of the table is drawn for testing, and a part of the rest for validation. If any list
    file is given, only the list files count. The other arguments are those of `DrawnDataModule` and
    `FileDataModule`.

    Args:
        path_column: Column of the ids; None finds it by its usual names, such as `id_code` and `image`.
        target_column: Column of the grades; None finds it by its usual names, such as `diagnosis` and `level`.
    """

    path_column: str | None = None
    target_column: str | None = None

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read one table, and find the images and patients of its ids."""
        patient = next((name for name in read_header(Path(file)) if name.lower() in _PATIENT_COLUMNS), None)
        table = read_labels(
            file,
            path_column=self.path_column,
            target_column=self.target_column,
            group_column=patient,
            labelled=labelled,
        )
        return LabelTable(self._find_image(_with_patient(label)) for label in table)

    def read_pool(self) -> LabelTable:
        """Return all images of `train.csv`."""
        file = self.search("train.csv")
        return self.read_list(file) if file else LabelTable(())

    def expected(self, split: Split) -> str:
        """Describe the table."""
        return f"put train.csv with the columns id_code and diagnosis into {self.root!r}"

    def _find_image(self, label: Label) -> Label:
        """Complete an id with its folder and suffix; an id without an image is kept, and `check_images` reports it."""
        if PurePosixPath(label.path).suffix.lower() in IMAGE_SUFFIXES:
            return label
        found = self._images.get(label.path, [label.path])
        if len(found) > 1:
            raise DataError(f"{label.where}: {label.path!r} may be {' or '.join(found)}; keep one of them")
        return replace(label, path=found[0])

    @cached_property
    def _images(self) -> dict[str, list[str]]:
        """Images of each id, relative to `root`."""
        found: dict[str, list[str]] = {}
        for folder in (Path(self.root), *(Path(self.root, name) for name in _FOLDERS)):
            for image in list_images(folder) if folder.is_dir() else ():
                found.setdefault(image.stem, []).append(image.relative_to(self.root).as_posix())
        return found


def _with_patient(label: Label) -> Label:
    match = _EYE.fullmatch(PurePosixPath(label.path).stem)
    return replace(label, group=match["patient"]) if label.group is None and match else label
