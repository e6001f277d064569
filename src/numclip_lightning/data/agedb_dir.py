"""AgeDB-DIR (Yang et al., ICML 2021): AgeDB with balanced validation and test images, for imbalanced regression."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from numclip_lightning.data.agedb import agedb_name, agedb_sex
from numclip_lightning.data.base.dialects import Record
from numclip_lightning.data.base.labels import Label
from numclip_lightning.data.base.parsing import parse_target
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.data.base.split_tables import SplitTableDataModule

__all__ = ["AgeDBDIRDataModule"]


@dataclass(kw_only=True, eq=False, repr=False)
class AgeDBDIRDataModule(SplitTableDataModule):
    """AgeDB-DIR by its authors' list `agedb.csv`: 12,208 images for training, 2,140 for validation and for testing.

    The list's columns are `age`, `path` (from `root` on, `AgeDB/11706_OliviaHussey_31_f.jpg`) and `split`. Validation
    and test images are spread evenly over the ages; training images are not. The splits share people, which is warned
    of. If any list file is given, only the list files count. The names also give the attribute `sex`, if `attributes`
    asks for it. The other arguments are those of `FileDataModule`.
    """

    table: ClassVar[str] = "agedb.csv"
    columns: ClassVar[tuple[str, ...]] = ("age", "path")

    def label_of(self, record: Record, source: Path) -> Label:
        """Return the age, and the person from the image's name."""
        path = record.fields["path"]
        named = agedb_name(path_key(path).rsplit("/", 1)[-1])
        age = parse_target(record.fields["age"], f"{source}:{record.line}")
        return Label(path, (age,), named.group if named else None, record.line, source)

    def attributes_of(self, label: Label) -> Mapping[str, str]:
        """Return the sex from the image's name; columns of a list come first."""
        return {**agedb_sex(label), **super().attributes_of(label)}
