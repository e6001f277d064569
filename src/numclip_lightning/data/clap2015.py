"""ChaLearn LAP 2015 (Escalera et al., ICCV workshops 2015): apparent ages, each the mean of many guesses."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from numclip_lightning.data.base.dialects import Record
from numclip_lightning.data.base.labels import Label
from numclip_lightning.data.base.parsing import parse_spread, parse_target
from numclip_lightning.data.base.split_tables import SplitTableDataModule

__all__ = ["CLAP2015DataModule"]


@dataclass(kw_only=True, eq=False, repr=False)
class CLAP2015DataModule(SplitTableDataModule):
    """CLAP2015 by L2RCLIP's list `total_2015.csv`: 2,476 images for training, 1,136 for validation, 1,079 for testing.

    Its columns are `filename`, `age`, `stdv` (the standard deviation of the guesses, for the epsilon-error) and
    `database` (`train`, `val` or `test`). It is searched for in `root` and `root/clap2015`. If any list file is given,
    only the list files count. The other arguments are those of `FileDataModule`.
    """

    table: ClassVar[str] = "total_2015.csv"
    folders: ClassVar[tuple[str, ...]] = ("clap2015",)
    columns: ClassVar[tuple[str, ...]] = ("filename", "age", "stdv")
    split_column: ClassVar[str] = "database"

    def label_of(self, record: Record, source: Path) -> Label:
        """Return the mean of the guesses with their deviation."""
        line, fields = record
        where = f"{source}:{line}"
        age, spread = parse_target(fields["age"], where), parse_spread(fields["stdv"], where)
        return Label(fields["filename"], (age,), None, line, source, spread)
