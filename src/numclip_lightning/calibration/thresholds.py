"""Thresholds of a score: over all images, and of each group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from numclip_lightning.calibration.answers import Answers
from numclip_lightning.calibration.checks import Numbers
from numclip_lightning.calibration.conformal import Threshold, conformal_threshold, fewest_images

__all__ = ["Thresholds", "find_thresholds"]


@dataclass(frozen=True)
class Thresholds:
    """The threshold of a score over all images, and of each group where they were asked for.

    Attributes:
        overall: Over all images.
        groups: By the name of the group; of levels, by their index as text.
    """

    overall: Threshold
    groups: Mapping[str, Threshold] = field(default_factory=dict)

    @property
    def fallback(self) -> float:
        """The threshold of an image of no known group: the largest finite one, which holds for every such group."""
        finite = [found.value for found in self.groups.values() if found.is_finite]
        return max(finite, default=self.overall.value)

    def of(self, answers: Answers) -> Numbers:
        """Return the threshold of each image, shape (N,)."""
        if not self.groups:
            return np.full(len(answers.value), self.overall.value)
        names = [""] * len(answers.value) if answers.groups is None else list(map(str, answers.groups))
        known = {name: found.value for name, found in self.groups.items()}
        return np.array([known.get(name, self.fallback) for name in names], dtype=np.float64)

    def by_level(self, levels: int) -> Numbers:
        """Return the threshold of each level, shape (K,)."""
        known = {name: found.value for name, found in self.groups.items()}
        return np.array([known.get(str(level), np.inf) for level in range(levels)], dtype=np.float64)


def find_thresholds(
    scores: Numbers, names: Sequence[str] | None, coverage: float, notes: list[str], phrases: Sequence[str]
) -> Thresholds:
    """Return the threshold over all images and of each group; note what has too few.

    Args:
        scores: Of each image, shape (N,).
        names: The group of each image; of levels, their index as text. None asks for no groups.
        coverage: The share of images whose score may not be larger, in 0..1.
        notes: What is added to.
        phrases: The phrases of the levels, for the notes, if groups are levels; else empty.
    """
    overall = conformal_threshold(scores, coverage)
    least = fewest_images(coverage)
    needed = f"for a coverage of {coverage:g}, which needs {least}"
    if overall.n < least:
        notes.append(f"{overall.n} images are too few {needed}: intervals are the whole scale.")
    if names is None:
        return Thresholds(overall)
    of = np.array(names)
    groups = {name: conformal_threshold(scores[of == name], coverage) for name in dict.fromkeys(names) if name}
    counts = {phrases[int(name)] if phrases else name: found.n for name, found in groups.items() if found.n < least}
    if counts:
        listed = ", ".join(f"{name} ({n})" for name, n in counts.items())
        then = "every interval reaches to these levels" if phrases else "intervals there are the whole scale"
        notes.append(f"too few images {needed}, of {listed}: {then}.")
    return Thresholds(overall, groups)
