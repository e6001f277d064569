"""Splits and few-shot subsets of a list, each with its own seed.

Every function sorts by path before it draws, and draws with Python's own generator. So a split depends on the entries
and the seed alone: not on the order of the list, the machine, or any global random state. Entries are returned in the
order they came in.
"""

import random
from collections.abc import Sequence

from numclip_lightning.data.labels import Label, path_key
from numclip_lightning.errors import ConfigError, DataError

__all__ = ["few_shots", "random_split"]


def few_shots(labels: Sequence[Label], shots: int, seed: int) -> list[Label]:
    """Keep `shots` images of every exact value, or all of them where there are fewer.

    Each value is drawn by itself: the draw for age 31 is the same whatever other ages the list has, and the images of a
    smaller number of shots are among those of a larger one.

    Args:
        labels: The labelled images.
        shots: Images per value, at least 1.
        seed: Seed of the draw.

    Raises:
        ConfigError: If `shots` is less than 1.
    """
    if shots < 1:
        raise ConfigError(f"shots={shots} must be at least 1")
    by_value: dict[float, list[Label]] = {}
    for label in sorted(labels, key=_order):
        by_value.setdefault(label.target, []).append(label)
    kept: set[Label] = set()
    for value, candidates in by_value.items():
        random.Random(f"shots {seed} {value}").shuffle(candidates)
        kept.update(candidates[:shots])
    return [label for label in labels if label in kept]


def random_split(labels: Sequence[Label], fraction: float, seed: int) -> tuple[list[Label], list[Label]]:
    """Set a random part of a list aside.

    Where the labels have groups, groups are kept whole. Otherwise the part is stratified: the images are sorted by
    target, ties in random order, and taken at even distances from a random start. This holds the share of every value
    to within one image, and serves targets that hardly ever repeat as well.

    Args:
        labels: The labelled images.
        fraction: Share of the images to set aside, in (0, 1). At least one image goes to each side.
        seed: Seed of the draw.

    Returns:
        The rest and the part set aside.

    Raises:
        ConfigError: If `fraction` lies outside (0, 1).
        DataError: If there is only one image, or only one group.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"fraction={fraction} must lie between 0 and 1, both excluded")
    if len(labels) < 2:
        raise DataError(f"can't split {len(labels)} images in two; give another list")
    ordered = sorted(labels, key=_order)
    rng = random.Random(f"split {seed}")
    wanted = min(max(round(len(ordered) * fraction), 1), len(ordered) - 1)
    grouped = any(label.group is not None for label in labels)
    part = set(_draw_groups(ordered, wanted, rng) if grouped else _draw_stratified(ordered, wanted, rng))
    return [label for label in labels if label not in part], [label for label in labels if label in part]


def _draw_stratified(ordered: list[Label], wanted: int, rng: random.Random) -> list[Label]:
    keys = {label: (label.target, rng.random()) for label in ordered}
    by_target = sorted(ordered, key=keys.__getitem__)
    start = rng.random()
    return [by_target[int((i + start) * len(by_target) / wanted)] for i in range(wanted)]


def _draw_groups(ordered: list[Label], wanted: int, rng: random.Random) -> list[Label]:
    """Fill up with whole groups in random order; one that would overfill is left out."""
    groups: dict[tuple[str, ...], list[Label]] = {}
    for label in ordered:
        # An image without a group stands for itself.
        groups.setdefault((label.group,) if label.group is not None else ("", label.path), []).append(label)
    if len(groups) < 2:
        raise DataError(f"all {len(ordered)} images belong to group {ordered[0].group!r}, which can't be split in two")
    shuffled = list(groups.values())
    rng.shuffle(shuffled)
    part: list[Label] = []
    for group in shuffled:
        if len(part) + len(group) <= wanted:
            part += group
    return part or min(shuffled, key=len)


def _order(label: Label) -> tuple[str, str]:
    return path_key(label.path), label.path
