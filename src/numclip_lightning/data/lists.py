"""Datamodule for your own lists, and for folders that are named by numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from numclip_lightning.data.base.arguments import require_fraction
from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.graded_folders import read_graded_folder
from numclip_lightning.data.base.labels import Label, LabelTable, read_labels, without_repeats
from numclip_lightning.data.base.rated import VoteColumns, join_raters, with_weights
from numclip_lightning.data.base.split_words import divide_by_column
from numclip_lightning.data.base.splits import random_split
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import ConfigError, check_choice, refuse

__all__ = ["ListDataModule"]


_COLUMNS = (
    "path_column", "target_column", "group_column", "spread_column", "propensity_column", "vote_columns",
    "rater_columns", "split_column", "weight_column",
)  # fmt: skip

Repeats = Literal["refuse", "votes"]


@dataclass(kw_only=True, eq=False, repr=False)
class ListDataModule(FileDataModule):
    """Your own lists: give `train_file` and `test_file`, and `val_file` if you have one.

    A list is CSV, TSV, JSONL, text, an Excel workbook or Parquet (extra `lists`), or a folder whose subfolders have the
    numbers as names: `train/0/a.png`, `train/KL3/b.png`. One list is enough with `test_fraction`, which draws the test
    part from it.

    The other arguments are those of `FileDataModule`.

    Args:
        path_column: Column of the image paths; None finds it by its usual names, or reads a list without header.
        target_column: Column of the targets; None finds it by its usual names, or reads a list without header.
        group_column: Column of what must stay together, such as the patient: parts are drawn by whole groups, and lists
            that share a group are refused (see `leaks`). A list without the column has no groups.
        spread_column: Column of the standard deviation of each target's votes; None finds it by its usual names
            (`spread`, `stdv`), `none` leaves it out.
        propensity_column: Column of the probability of each training image to be labelled, over 0 and up to 1, for
            `model.imbalance.weights=propensity`; None for none.
        vote_columns: How many raters have given each score: a mapping of columns to scores, such as `{c1: 1, c2: 2}`.
            The target is their mean unless `target_column` is given too; methods read the votes with `model.raters`.
        rater_columns: Columns of the raters' numbers, one for each rater, blank where one has given none; likewise.
        repeats: What several lines of one image are, or several labels in a line. `refuse`: a mistake if lines differ;
            of several labels in a line, training draws one. `votes`: numbers of several raters; the target is the mean.
        weight_column: Column of `train_file` that says how much each image counts in training, above 0, for
            `model.imbalance.weights=list`; None counts all alike.
        split_column: Column of `train_file` that says which split each image is in (`train`, `val`, `test`, or as
            `training`, `valid`, `validation`, `dev`, `testing`); None where each split has a list.
        test_fraction: Share of `train_file` that is drawn for testing, groups kept whole, in (0, 1); None where there
            is a `test_file`.
        split_seed: Seed of that part. It is not `seed`, so that several seeds of a method have one test set.
    """

    path_column: str | None = None
    target_column: str | None = None
    group_column: str | None = None
    spread_column: str | None = None
    propensity_column: str | None = None
    vote_columns: dict[str, float] | None = None
    rater_columns: list[str] | None = None
    repeats: Repeats = "refuse"
    weight_column: str | None = None
    split_column: str | None = None
    test_fraction: float | None = None
    split_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._drawn: dict[Split, LabelTable] = {}

    def validate_arguments(self) -> None:
        """Check the raters and the fraction too."""
        super().validate_arguments()
        check_choice("repeats", self.repeats, get_args(Repeats))
        ways = (self.vote_columns is not None, self.rater_columns is not None, self.repeats == "votes")
        if sum(ways) > 1:
            refuse("vote_columns, rater_columns and repeats=votes are three ways to list votes; give one")
        if self.rater_columns == [] or self.vote_columns == {}:
            refuse("vote_columns or rater_columns has no column; name them, or leave it out")
        if self.split_column is not None and (self.test_fraction, self.val_file, self.test_file) != (None, None, None):
            refuse(
                f"split_column={self.split_column!r} takes all splits from train_file; leave val_file, test_file and "
                "test_fraction out"
            )
        if self.split_column is not None and self.train_file is None:
            refuse(f"split_column={self.split_column!r} needs train_file, the list that has it")
        if self.test_fraction is None:
            return
        require_fraction("test_fraction", self.test_fraction)
        if self.train_file is None or self.test_file is not None:
            refuse(
                f"test_fraction={self.test_fraction} draws the test part from the training list; give train_file, and "
                "no test_file"
            )

    @property
    def has_own_lists(self) -> bool:
        """Whether the lists are your own: always."""
        return True

    @property
    def list_files(self) -> dict[Split, str | None]:
        """The list file of each split; a list that is divided is no split's own."""
        return {**super().list_files, **({"train": None} if self.test_fraction or self.split_column else {})}

    def published(self, split: Split) -> LabelTable | None:
        """A part of a list that is divided, as its column says or by a draw."""
        if self.train_file is None or (self.test_fraction is None and self.split_column is None):
            return None
        if not self._drawn:
            file = self.split_lists.find_file("train_file", self.train_file)
            table = self.read_list(file)
            if self.split_column is not None:
                self._drawn = divide_by_column(table, file, self.split_column)
            elif self.test_fraction is not None:
                train, test = random_split(table, self.test_fraction, self.split_seed)
                self._drawn = {"train": LabelTable(train), "test": LabelTable(test)}
        return self._drawn.get(split)

    @property
    def groups_given(self) -> bool:
        """Whether a column of groups is named."""
        return self.group_column is not None

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read one list with the columns named.

        A folder is one too: its subfolders' names are the numbers. Groups and propensities must be in the training
        list, spreads and attributes in the test list.
        """
        if Path(file).is_dir():
            if named := [name for name in _COLUMNS if getattr(self, name) is not None]:
                raise ConfigError(
                    f"{named[0]}={getattr(self, named[0])!r}: the folder {file} has no columns; give a list"
                )
            return read_graded_folder(Path(file), self.root)
        needed = {
            "group": self.train_file, "propensity": self.train_file, "spread": self.test_file,
            "attributes": self.test_file or self.train_file,
        }  # fmt: skip
        optional = tuple(what for what, given in needed.items() if given and not self._is_list(file, given))
        join = self._join(Path(file), optional) if labelled else None
        table = read_labels(
            file,
            path_column=self.path_column,
            target_column=self.target_column,
            group_column=self.group_column,
            spread_column=self.spread_column,
            propensity_column=self.propensity_column,
            # The mean of the votes takes the place of a target that is not named.
            labelled=labelled and (self.target_column is not None or not self._rated),
            optional=optional,
            attributes=self.attributes or (),
            join=join,
        )
        trained_on = labelled and self.train_file is not None and self._is_list(file, self.train_file)
        return with_weights(table, Path(file), self.weight_column) if self.weight_column and trained_on else table

    @property
    def _rated(self) -> bool:
        return self.vote_columns is not None or self.rater_columns is not None

    def _join(self, source: Path, optional: Sequence[str]) -> Callable[[Sequence[Label]], LabelTable] | None:
        """Return what makes entries of the lines of a list, if several raters have filled it in."""
        if self.repeats == "votes":
            return join_raters
        if not self._rated:
            return None
        mean = self.target_column is None
        named = [self.group_column, self.propensity_column, *(self.attributes or ())]
        kinds = ["group", "propensity", *["attributes"] * (len(named) - 2)]
        needed = [name for name, kind in zip(named, kinds, strict=True) if name is not None and kind not in optional]
        votes = VoteColumns(source, self.vote_columns, self.rater_columns, tuple(needed))
        return lambda labels: without_repeats(votes.rate(labels, mean=mean), source)

    def _is_list(self, file: str | Path, given: str) -> bool:
        return Path(file) in (Path(given).expanduser(), Path(self.root, given))
