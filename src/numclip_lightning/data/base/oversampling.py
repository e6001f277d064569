"""More images of rare numbers, made in feature space (SMOTE).

Sources: Chawla et al., "SMOTE: Synthetic Minority Over-sampling Technique", JAIR 2002; Torgo et al., "SMOTE for
Regression", EPIA 2013, for numbers between those of both neighbours.
"""

import logging
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.splits import group_by_value
from numclip_lightning.errors import ConfigError, refuse

__all__ = ["NO_FEATURES", "OversampleSpec", "count_synthetic", "oversample"]

_log = logging.getLogger(__name__)

NO_FEATURES = (
    "data.oversample adds images in feature space, but features are not kept; freeze the image tower "
    "(model.learning_rates.image_encoder=0), set data.augment=false, or use data.sample_power"
)
"""The message where images are over-sampled."""


@dataclass(frozen=True)
class OversampleSpec:
    """Over-sampling of rare numbers in the features of a frozen tower.

    Args:
        to: The share of the images of the most frequent number that every other one is filled up to, in 0..1.
        neighbours: The nearest images that a new one may lie on the way to, at least 1.
        width: How far the number of a neighbour may be from an image's own, in the target's unit, 0 or more. Images of
            the same number come first, nearer ones first; others are taken if there are too few of them.

    Raises:
        ConfigError: If an argument is out of its range.
    """

    to: float = 0.5
    neighbours: int = 5
    width: float = 1.0

    def __post_init__(self) -> None:
        """Check every argument."""
        if not 0 <= self.to <= 1:
            refuse(f"oversample.to={self.to} must be a share from 0 to 1")
        if self.neighbours < 1:
            refuse(f"oversample.neighbours={self.neighbours} must be at least 1")
        if not (math.isfinite(self.width) and self.width >= 0):
            refuse(f"oversample.width={self.width} must be 0 or a positive number, in the target's unit")


def oversample(
    labels: LabelTable, features: Tensor, spec: OversampleSpec, seed: int, step: float | None = None
) -> tuple[LabelTable, Tensor]:
    """Add synthetic images of rare numbers behind the real ones.

    A new one lies between an image i and one of its neighbours j, u of the way, u uniform in 0..1: its number is
    `y_i + u (y_j - y_i)`, its direction that of `f_i + u (f_j - f_i)`, f being features of length one, and its length
    lies between theirs likewise. An image without neighbours is repeated.

    Args:
        labels: The real images, with targets.
        features: Their features, (N, D).
        spec: How many are added, and from which neighbours.
        seed: Seed of the draw.
        step: Width of what counts as one number; None counts exact values.

    Returns:
        The table and the features of all images, the real ones first.

    Raises:
        ConfigError: If the features are no vectors.
    """
    if features.ndim != 2:
        raise ConfigError(
            f"data.oversample needs one feature vector for each image, but features have shape "
            f"{tuple(features.shape)}; leave it out for this method"
        )
    by_value = group_by_value(labels, step)
    place = {label: number for number, label in enumerate(labels)}
    wanted = _wanted(by_value, spec)
    unit, lengths = functional.normalize(features.float(), dim=1), features.float().norm(dim=1)
    targets = torch.tensor([label.target for label in labels], dtype=torch.float64)
    made: list[Label] = []
    rows: list[Tensor] = []
    for value, own in by_value.items():
        rng = random.Random(f"oversample {seed} {value}")
        mine = {place[label] for label in own}
        for number in range(wanted - len(own)):
            label = own[number % len(own)]
            i = place[label]
            j, u = rng.choice(_neighbours(i, mine, unit, targets, spec)), rng.random()
            between = label.target + u * (labels[j].target - label.target)
            # Nobody has voted on an image that is not there.
            made.append(replace(label, targets=(between,), spread=None, votes=None))
            direction = functional.normalize(unit[i].lerp(unit[j], u), dim=0)
            rows.append(direction * lengths[i].lerp(lengths[j], u))
    _log.info("data: %d synthetic training images join %d real ones", len(made), len(labels))
    if not made:
        return labels, features
    return LabelTable([*labels, *made]), torch.cat([features, torch.stack(rows).to(features.dtype)])


def count_synthetic(labels: LabelTable, spec: OversampleSpec, step: float | None = None) -> int:
    """Return how many images `oversample` would add; arguments as of it."""
    by_value = group_by_value(labels, step)
    wanted = _wanted(by_value, spec)
    return sum(max(0, wanted - len(own)) for own in by_value.values())


def _wanted(by_value: Mapping[float, Sequence[Label]], spec: OversampleSpec) -> int:
    """Return up to how many images every value is filled."""
    return round(spec.to * max(map(len, by_value.values()), default=0))


def _neighbours(i: int, mine: set[int], unit: Tensor, targets: Tensor, spec: OversampleSpec) -> list[int]:
    """Return the places that a new image may lie on the way to; the image's own if there are no others."""
    near = ((targets - targets[i]).abs() <= spec.width).nonzero().flatten().tolist()
    closeness = unit @ unit[i]
    found = sorted({*near, *mine} - {i}, key=lambda j: (j not in mine, -closeness[j].item(), j))
    return found[: spec.neighbours] or [i]
