"""Lists that several raters have filled in: a line, a label or a column for each rater, or a column for each score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from numclip_lightning.data.base.columns import listed
from numclip_lightning.data.base.dialects import read_records
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.numerals import is_unknown
from numclip_lightning.data.base.parsing import parse_target, parse_weight
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.data.base.votes import Votes, count_votes, read_votes
from numclip_lightning.errors import DataError

__all__ = ["VoteColumns", "join_raters", "with_weights"]


def join_raters(labels: Sequence[Label]) -> LabelTable:
    """Make one entry of all lines of an image: the target is the mean of their labels, the labels are its votes.

    Raises:
        DataError: If two lines of an image have different groups, spreads, propensities or attributes.
    """
    lines: dict[str, list[Label]] = {}
    for label in labels:
        lines.setdefault(path_key(label.path), []).append(label)
    joined = []
    for first, *others in lines.values():
        for label in others:
            if replace(label, path=first.path, targets=first.targets, line=first.line) != first:
                raise DataError(
                    f"{label.where}: {label.path!r} has another group or other columns than in line {first.line}; "
                    "lines of one image may differ in the label alone"
                )
        votes = count_votes(target for label in (first, *others) for target in label.targets)
        joined.append(replace(first, targets=(votes.mean,), votes=votes))
    return LabelTable(joined)


@dataclass(frozen=True)
class VoteColumns:
    """The columns of a list that hold the votes: one for each score, or one for each rater.

    Args:
        source: The list.
        scores: The score of each column, in the target's unit; None if there is a column for each rater.
        raters: The columns of the raters, blank where one has given no number; None if there is one for each score.
        others: Columns that the list must have besides.
    """

    source: Path
    scores: Mapping[str, float] | None
    raters: Sequence[str] | None
    others: tuple[str, ...] = ()

    def rate(self, labels: Sequence[Label], *, mean: bool) -> list[Label]:
        """Give each image its votes.

        Args:
            labels: The images of the list.
            mean: Whether the target is the mean of the votes; otherwise it stays as it is.

        Raises:
            DataError: If a column is missing, a field is no number, or nobody has rated an image.
        """
        columns = [name.lower() for name in self.scores or self.raters or ()]
        records = read_records(self.source, [*columns, *(name.lower() for name in self.others)])
        fields = {record.line: record.fields for record in records}
        rated = []
        for label in labels:
            votes = self._votes(fields[label.line], label)
            rated.append(replace(label, votes=votes, targets=(votes.mean,) if mean else label.targets))
        return rated

    def _votes(self, fields: Mapping[str, str], label: Label) -> Votes:
        if self.scores is not None:
            return read_votes(fields, {name.lower(): score for name, score in self.scores.items()}, label.where)
        given = [fields[name.lower()] for name in self.raters or ()]
        marks = [parse_target(token, label.where) for token in given if not is_unknown(token)]
        if not marks:
            columns = listed(self.raters or ())
            raise DataError(f"{label.where}: no rater has given {label.path!r} a number in the columns {columns}")
        return count_votes(marks)


def with_weights(table: LabelTable, source: Path, column: str) -> LabelTable:
    """Give each image the weight in a column of its list.

    Args:
        table: The images of the list.
        source: The list.
        column: The column.

    Raises:
        DataError: If the column is missing, or a weight is no number above 0.
    """
    fields = {record.line: record.fields for record in read_records(source, [column.lower()])}
    return LabelTable(
        replace(label, weight=parse_weight(fields[label.line][column.lower()], label.where)) for label in table
    )
