"""YearGuessr (Szu-Tu et al., arXiv 2512.21337): 55,546 buildings of Wikipedia and the years that they were built in."""

from dataclasses import dataclass

from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.labels import LabelTable
from numclip_lightning.data.base.types import Split

__all__ = ["YearGuessrDataModule"]

# In the code of YearCLIP, and in the data set on the Hub.
_LISTS = (("data_list", "{}.txt"), ("csv", "{}.csv"))
_NAMES = {"train": "train", "val": "valid", "test": "test"}


@dataclass(kw_only=True, eq=False, repr=False)
class YearGuessrDataModule(FileDataModule):
    """YearGuessr by its authors' lists, 60 / 20 / 20 %: years 1001 to 2024.

    The lists are `data_list/train.txt`, `valid.txt` and `test.txt` of YearCLIP's code, a path and a year each, or
    `csv/train.csv`, `valid.csv` and `test.csv` of the data set on the Hub, with a column `Year` and one of the images;
    either in `root`. If any list file is given, only the list files count. The images and texts are under CC BY-SA 4.0.
    The other arguments are those of `FileDataModule`.
    """

    def published(self, split: Split) -> LabelTable | None:
        """Return the images of a split; None if a list file is given or the list is missing."""
        if split not in _NAMES or self.lists_given:
            return None
        files = (self.search(name.format(_NAMES[split]), folder) for folder, name in _LISTS)
        file = next(filter(None, files), None)
        return self.read_list(file) if file else None

    def expected(self, split: Split) -> str:
        """Name the lists."""
        name = _NAMES.get(split, "test")
        return f"put data_list/{name}.txt or csv/{name}.csv into {self.root!r}"
