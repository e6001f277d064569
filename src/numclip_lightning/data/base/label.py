"""One entry of a list."""

from dataclasses import dataclass
from pathlib import Path

from numclip_lightning.data.base.votes import Votes
from numclip_lightning.errors import DataError

__all__ = ["Label"]


@dataclass(frozen=True, slots=True)
class Label:
    """One image of a list, with its targets and other columns.

    Attributes:
        path: The image's path as the list has it.
        targets: The true numbers as the list has them, in its order; empty when the image is unlabelled.
        group: Images of one group stay in one split (a person, a patient); None if unknown.
        line: Line number in `source`, from 1; 0 when `source` is the image itself.
        source: The list the label comes from, or the image when its name is the label.
        spread: Standard deviation of the votes whose mean the target is, in its unit, 0 where all agree; None where
            nothing is known.
        propensity: Probability that an image such as this has been labelled, over 0 and up to 1; None if unknown.
        attributes: What else is known of the image, such as ("sex", "female"): names and values, "" where unknown.
        weight: How much the image counts in training, above 0, 1 being the mean of others; None where it counts as all.
        votes: How often raters gave each score, in the target's unit; None where nothing is known.
        box: The part of the image that is used: x and y of its four corners in pixels, from the upper left one
            clockwise; None is the whole image.
    """

    path: str
    targets: tuple[float, ...]
    group: str | None
    line: int
    source: Path
    spread: float | None = None
    propensity: float | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    weight: float | None = None
    votes: Votes | None = None
    box: tuple[float, ...] | None = None

    @property
    def target(self) -> float:
        """The target for evaluation and splits: the middle one in the list's order, `targets[len // 2]`."""
        if not self.targets:
            raise DataError(f"{self.where}: {self.path!r} has no label")
        return self.targets[len(self.targets) // 2]

    @property
    def where(self) -> str:
        """`file:line` of the entry, for messages."""
        return f"{self.source}:{self.line}" if self.line else str(self.source)
