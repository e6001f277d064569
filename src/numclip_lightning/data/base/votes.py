"""The votes of several raters on one image: how often each score was given."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from numclip_lightning.data.base.numerals import is_unknown, number_or_nan
from numclip_lightning.errors import DataError

__all__ = ["Votes", "count_votes", "read_votes", "vote_batch"]


class Votes(NamedTuple):
    """Votes on one image.

    Attributes:
        scores: The scores in the target's unit, (S,).
        counts: How often each was given, or the share of it, (S,): not negative, and not all 0.
    """

    scores: tuple[float, ...]
    counts: tuple[float, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each score, (S,), which add up to 1."""
        total = math.fsum(self.counts)
        return tuple(count / total for count in self.counts)

    @property
    def mean(self) -> float:
        """The mean score."""
        return math.fsum(share * score for share, score in zip(self.shares, self.scores, strict=True))

    @property
    def spread(self) -> float:
        """The standard deviation of the votes, with the mean of all of them; 0 where all agree."""
        mean = self.mean
        pairs = zip(self.shares, self.scores, strict=True)
        return math.sqrt(math.fsum(share * (score - mean) ** 2 for share, score in pairs))


def count_votes(given: Iterable[float]) -> Votes:
    """Return the votes of a list of scores, one for each rater.

    Example:
        >>> votes = count_votes([3, 4, 4, 5])
        >>> votes.scores, votes.counts, votes.mean
        ((3, 4, 5), (1, 2, 1), 4.0)
    """
    found = sorted(Counter(given).items())
    return Votes(tuple(score for score, _ in found), tuple(count for _, count in found))


def read_votes(fields: Mapping[str, str], scores: Mapping[str, float], where: str) -> Votes:
    """Read how often each score was given, a column for each.

    Args:
        fields: The fields of a line by column.
        scores: The score of each column, in the target's unit.
        where: File and line, for messages.

    Returns:
        The votes; a blank counts as none.

    Raises:
        DataError: If a field is no count or share of 0 or more, or all are 0.
    """
    counts = []
    for column in scores:
        token = fields[column].strip()
        count = 0.0 if is_unknown(token) else number_or_nan(token)
        if not (math.isfinite(count) and count >= 0):
            raise DataError(
                f"{where}: {token!r} in the column {column!r} is not a number of votes; expected a count or a share of "
                "0 or more"
            )
        counts.append(count)
    if not any(counts):
        columns = ", ".join(map(repr, scores))
        raise DataError(f"{where}: there is no vote in the columns {columns}; remove the line, or correct the counts")
    return Votes(tuple(scores.values()), tuple(counts))


def vote_batch(votes: Votes | None, width: int) -> dict[str, Tensor]:
    """Return the votes of an image for a batch.

    Args:
        votes: The votes; None where they are unknown.
        width: The number of scores S that all images of the batch have; missing ones have no vote.

    Returns:
        `"votes"`, float32 (S,), the share of each score, NaN where the votes are unknown; `"scores"`, float32 (S,).
    """
    if votes is None:
        return {"votes": torch.full((width,), torch.nan), "scores": torch.zeros(width)}
    spare = width - len(votes.scores)
    shares, scores = [*votes.shares, *[0.0] * spare], [*votes.scores, *[votes.scores[-1]] * spare]
    return {"votes": torch.tensor(shares), "scores": torch.tensor(scores)}
