"""AVA (Murray et al., CVPR 2012): 255,530 photographs, each with the votes of about 210 people from 1 to 10."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.labels import Label, LabelTable, without_repeats
from numclip_lightning.data.base.tables import read_table
from numclip_lightning.data.base.types import Split
from numclip_lightning.data.base.votes import read_votes
from numclip_lightning.errors import DataError, MissingListError

__all__ = ["AVADataModule"]

_LIST, _TEST = "AVA.txt", "generic_test.jpgl"
_SCORES = {str(score): float(score) for score in range(1, 11)}


@dataclass(kw_only=True, eq=False, repr=False)
class AVADataModule(FileDataModule):
    """AVA by its authors' lists: the images of `generic_test.jpgl` are tested on, all others are trained on.

    A line of `AVA.txt` is a number, the image's id, how many people have given 1, 2, ... 10 points, two tags and the
    challenge. The target is the mean of the votes; the votes themselves come with it (`model.raters`). The lists are
    searched for in `root`, and the second one also in `root/aesthetics_image_lists`; images are
    `root/images/<id>.jpg`. A part of the training images is set aside for validation. Some copies of AVA lack a few
    images: remove their lines from `AVA.txt`. If any list file is given, only the list files count. The other arguments
    are those of `FileDataModule`.
    """

    def published(self, split: Split) -> LabelTable | None:
        """Return the training or test images; None if a list file is given or the list is missing."""
        if split not in ("train", "test") or self.lists_given or not self._all:
            return None
        return LabelTable(label for label in self._all if (_id(label.path) in self._tested) == (split == "test"))

    def expected(self, split: Split) -> str:
        """Name the lists."""
        return f"put {_LIST} and {_TEST} into {self.root!r}, and the images into its folder 'images'"

    @cached_property
    def _all(self) -> LabelTable:
        source = self.search(_LIST)
        return without_repeats(list(_read(source)), source) if source else LabelTable(())

    @cached_property
    def _tested(self) -> frozenset[str]:
        """The ids of the test images."""
        source = self.search(_TEST, "aesthetics_image_lists")
        if source is None:
            raise MissingListError(f"{_TEST} is missing, which says what is tested on; {self.expected('test')}")
        return frozenset(line.fields[0] for line in read_table(source).lines)


def _id(path: str) -> str:
    return Path(path).stem


def _read(source: Path) -> Iterable[Label]:
    for line in read_table(source).lines:
        where = f"{source}:{line.number}"
        if len(line.fields) != 15:
            raise DataError(f"{where}: the line has {len(line.fields)} fields, a line of AVA has 15")
        votes = read_votes(dict(zip(_SCORES, line.fields[2:12], strict=True)), _SCORES, where)
        yield Label(f"images/{line.fields[1]}.jpg", (votes.mean,), None, line.number, source, votes=votes)
