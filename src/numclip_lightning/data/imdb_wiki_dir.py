"""IMDB-WIKI-DIR (Yang et al., ICML 2021): faces of IMDB-WIKI with balanced validation and test images."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from numclip_lightning.data.base.dialects import Record
from numclip_lightning.data.base.labels import Label
from numclip_lightning.data.base.parsing import parse_target
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.data.base.split_tables import SplitTableDataModule

__all__ = ["IMDBWIKIDIRDataModule"]


@dataclass(kw_only=True, eq=False, repr=False)
class IMDBWIKIDIRDataModule(SplitTableDataModule):
    """IMDB-WIKI-DIR by its authors' list `imdb_wiki.csv`: 191,509 images for training, 11,022 each for the others.

    The list's columns are `age`, `path` (from `root` on, `imdb_crop/01/nm0000001_rm124825600_1899-5-10_1968.jpg`) and
    `split`. Validation and test images are spread evenly over the ages; training images are not. The ages are guessed
    from dates of photographs: some are wrong, up to 186. The splits share people, which is warned of. If any list file
    is given, only the list files count. The other arguments are those of `FileDataModule`.
    """

    table: ClassVar[str] = "imdb_wiki.csv"
    columns: ClassVar[tuple[str, ...]] = ("age", "path")

    def label_of(self, record: Record, source: Path) -> Label:
        """Return the age, and the person: the first number of the image's name."""
        path = record.fields["path"]
        age = parse_target(record.fields["age"], f"{source}:{record.line}")
        person, underline, _ = path_key(path).rsplit("/", 1)[-1].partition("_")
        return Label(path, (age,), person if underline else None, record.line, source)
