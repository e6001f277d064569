"""ChaLearn LAP 2015 (Escalera et al., ICCV workshops 2015): apparent ages, each the mean of many guesses."""

from dataclasses import dataclass

from numclip_lightning.data.base.dialects import read_records
from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.labels import Label, LabelTable, without_repeats
from numclip_lightning.data.base.parsing import parse_spread, parse_target
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import DataError

__all__ = ["CLAP2015DataModule"]

_LIST = "total_2015.csv"
_SPLITS = ("train", "val", "test")


@dataclass(kw_only=True, eq=False, repr=False)
class CLAP2015DataModule(FileDataModule):
    """CLAP2015 by L2RCLIP's list `total_2015.csv`: 2,476 images for training, 1,136 for validation, 1,079 for testing.

    Its columns are `filename`, `age`, `stdv` (the standard deviation of the guesses, for the epsilon-error) and
    `database` (`train`, `val` or `test`). It is searched for in `root` and `root/clap2015`. If any list file is given,
    only the list files count. The other arguments are those of `FileDataModule`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._all: LabelTable | None = None
        self._split_of: dict[Label, str] = {}

    def published(self, split: Split) -> LabelTable | None:
        """Return the images of a split."""
        if split == "predict" or self.lists_given:
            return None
        if self._all is None:
            self._all = self._read_all()
        table = LabelTable(label for label in self._all if self._split_of[label] == split)
        return table if self._all else None

    def expected(self, split: Split) -> str:
        """Name the published list."""
        return f"put {_LIST} into {self.root!r} or its folder 'clap2015'"

    def _read_all(self) -> LabelTable:
        source = self.search(_LIST, "clap2015")
        if source is None:
            return LabelTable(())
        known: dict[str, str] = {}
        for line, fields in read_records(source, ("filename", "age", "stdv", "database")):
            where, split = f"{source}:{line}", fields["database"]
            if split not in _SPLITS:
                raise DataError(f"{where}: database {split!r} is not a split; expected one of {', '.join(_SPLITS)}")
            if (other := known.setdefault(path_key(fields["filename"]), split)) != split:
                raise DataError(
                    f"{where}: {fields['filename']!r} is in the split {split!r}, but an earlier line has it in "
                    f"{other!r}; remove one of the two lines"
                )
            age, spread = parse_target(fields["age"], where), parse_spread(fields["stdv"], where)
            self._split_of[Label(fields["filename"], (age,), None, line, source, spread)] = split
        return without_repeats(list(self._split_of), source)
