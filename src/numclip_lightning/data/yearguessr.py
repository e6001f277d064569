"""YearGuessr (Szu-Tu et al., arXiv 2512.21337): 55,546 buildings of Wikipedia and the years that they were built in."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from numclip_lightning.data.base.columns import AskedColumns
from numclip_lightning.data.base.dialects import read_rows
from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.labels import Label, LabelTable, without_repeats
from numclip_lightning.data.base.parsing import parse_target
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import DataError

__all__ = ["YearGuessrDataModule"]

# In the code of YearCLIP, and in the data set on the Hub.
_LISTS = (("data_list", "{}.txt"), ("csv", "{}.csv"))
_NAMES = {"train": "train", "val": "valid", "test": "test"}
_IMAGES = "images"


@dataclass(kw_only=True, eq=False, repr=False)
class YearGuessrDataModule(FileDataModule):
    """YearGuessr by its authors' lists, 60 / 20 / 20 %: years 1001 to 2024.

    The lists are `data_list/train.txt`, `valid.txt` and `test.txt` of YearCLIP's code, with a path, a year, a longitude
    and a latitude in a line, or `csv/train.csv`, `valid.csv` and `test.csv` of the data set, with the columns `Picture`
    and `Year` among others; either in `root`. Coordinates are not read. Names without a folder are in `root/images`, if
    there is such a folder. If any list file is given, only the list files count. The images and texts are under CC
    BY-SA 4.0. The other arguments are those of `FileDataModule`.
    """

    def published(self, split: Split) -> LabelTable | None:
        """Return the images of a split; None if a list file is given or the list is missing."""
        if split not in _NAMES or self.lists_given:
            return None
        files = (self.search(name.format(_NAMES[split]), folder) for folder, name in _LISTS)
        file = next(filter(None, files), None)
        if file is None:
            return None
        table = self.read_list(file)
        if not Path(self.root, _IMAGES).is_dir():
            return table
        return LabelTable(
            label if "/" in label.path else replace(label, path=f"{_IMAGES}/{label.path}") for label in table
        )

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read one list file; of a list that is no CSV, what is behind the year is no second year."""
        source = Path(file)
        if not labelled or source.suffix == ".csv":
            return super().read_list(file, labelled=labelled)
        return without_repeats(list(_years(source)), source)

    def expected(self, split: Split) -> str:
        """Name the lists."""
        name = _NAMES.get(split, "test")
        return f"put data_list/{name}.txt or csv/{name}.csv into {self.root!r}"


def _years(source: Path) -> Iterable[Label]:
    """Yield the entries of a list without a header; what is behind the year is no year."""
    for row in read_rows(source, AskedColumns(), labelled=True):
        where = f"{source}:{row.line}"
        if not row.tokens:
            raise DataError(f"{where}: no year after {row.path!r}; a line is a path, a year and coordinates")
        yield Label(row.path, (parse_target(row.tokens[0], where),), None, row.line, source)
