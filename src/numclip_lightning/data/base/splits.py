"""Splits of a list in two, and reductions of a training list by protocols, each with its own seed.

Every function sorts by path before it draws, and draws with Python's own generator. So a split depends only on the
entries and the seed: not on the order of the list, the machine, or any global random state. Entries are returned in
their given order.
"""

import random
from collections.abc import Mapping, Sequence

from numclip_lightning.data.base.labels import Label
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.errors import ConfigError, DataError

__all__ = [
    "count_values",
    "few_shots",
    "group_by_value",
    "group_labels",
    "long_tail",
    "random_split",
    "shift_values",
    "sort_key",
    "value_of",
]


def few_shots(labels: Sequence[Label], shots: int, seed: int, step: float | None = None) -> list[Label]:
    """Keep `shots` images of every exact value, or all of them where there are fewer.

    Each value is drawn by itself: the draw for age 31 does not depend on the other ages in the list. The images of a
    smaller number of shots are among those of a larger one.

    Args:
        labels: The labelled images.
        shots: Images per value, at least 1.
        seed: Seed of the draw.
        step: Width of what counts as one value, as for mean opinion scores; None counts exact values.

    Raises:
        ConfigError: If `shots` is less than 1.

    Example:
        >>> from pathlib import Path
        >>> labels = [Label(f"{i}.jpg", (float(i % 3),), None, i, Path("list.txt")) for i in range(9)]
        >>> sorted(label.target for label in few_shots(labels, shots=2, seed=0))
        [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    """
    if shots < 1:
        raise ConfigError(f"shots={shots} must be at least 1")
    return _keep(labels, dict.fromkeys(group_by_value(labels, step), shots), f"shots {seed}", step)


def shift_values(
    labels: Sequence[Label], number: int, factor: float, seed: int, step: float | None = None
) -> list[Label]:
    """Shift the distribution of the values: cut the most frequent ones, as OrdinalCLIP's experiments do.

    Args:
        labels: The labelled images.
        number: Number of the most frequent values to cut; among equally frequent values, the smaller first.
        factor: Share to keep of a cut value, in (0, 1): `max(1, int(n * factor))` of its n images.
        seed: Seed of the draw; the images of a smaller factor are among those of a larger one.
        step: As in `few_shots`.

    Raises:
        ConfigError: If `number` is less than 1, or `factor` is outside (0, 1).
    """
    if number < 1:
        raise ConfigError(f"number={number} must be at least 1")
    if not 0 < factor < 1:
        raise ConfigError(f"factor={factor} must be between 0 and 1, both excluded")
    by_value = group_by_value(labels, step)
    kept = {value: max(1, int(len(by_value[value]) * factor)) for value in _by_frequency(by_value)[:number]}
    return _keep(labels, kept, f"shift {seed}", step)


def long_tail(labels: Sequence[Label], ratio: float, seed: int, step: float | None = None) -> list[Label]:
    """Give the values a long tail, so that the most frequent one is `ratio` times as frequent as the rarest.

    Of V values, the i-th most frequent (from 0; among equally frequent values, the smaller first) keeps
    `round(n_max * ratio ** (-i / (V - 1)))` images, n_max being the images of the most frequent one: at least 1, and
    never more than it has. So a list that is already uneven may become more uneven than `ratio`.

    Args:
        labels: The labelled images.
        ratio: The imbalance, at least 1.
        seed: Seed of the draw; the images of a larger ratio are among those of a smaller one.
        step: As in `few_shots`.

    Raises:
        ConfigError: If `ratio` is less than 1 or not finite.

    Example:
        >>> from pathlib import Path
        >>> labels = [Label(f"{i}.jpg", (float(i % 3),), None, i, Path("list.txt")) for i in range(300)]
        >>> kept = [label.target for label in long_tail(labels, ratio=100, seed=0)]
        >>> kept.count(0.0), kept.count(1.0), kept.count(2.0)
        (100, 10, 1)
    """
    if not 1 <= ratio < float("inf"):
        raise ConfigError(f"ratio={ratio} must be a number of at least 1")
    by_value = group_by_value(labels, step)
    order = _by_frequency(by_value)
    most, last = max(map(len, by_value.values()), default=0), max(len(order) - 1, 1)
    kept = {value: max(1, round(most * ratio ** (-i / last))) for i, value in enumerate(order)}
    return _keep(labels, kept, f"long tail {seed}", step)


def _keep(labels: Sequence[Label], kept: Mapping[float, int], draw: str, step: float | None) -> list[Label]:
    """Keep so many images of each value, drawn for every value by itself; all of a value that isn't named."""
    dropped: set[Label] = set()
    for value, candidates in group_by_value(labels, step).items():
        random.Random(f"{draw} {value}").shuffle(candidates)
        dropped.update(candidates[kept.get(value, len(candidates)) :])
    return [label for label in labels if label not in dropped]


def group_by_value(labels: Sequence[Label], step: float | None = None) -> dict[float, list[Label]]:
    """Return the images of each value, in the order of their paths.

    Args:
        labels: The labelled images.
        step: As in `few_shots`.
    """
    by_value: dict[float, list[Label]] = {}
    for label in sorted(labels, key=sort_key):
        by_value.setdefault(value_of(label, step), []).append(label)
    return by_value


def value_of(label: Label, step: float | None = None) -> float:
    """Return what counts as the value of an image: its target, or the nearest multiple of a step."""
    return label.target if step is None else round(label.target / step) * step


def count_values(labels: Sequence[Label], step: float | None = None) -> dict[float, int]:
    """Return the number of images of each value, in increasing order of the values.

    What is called many, medium and few in the literature are ranges of this number for the training images.

    Args:
        labels: The labelled images.
        step: As in `few_shots`.

    Example:
        >>> from pathlib import Path
        >>> labels = [Label(f"{i}.jpg", (float(i % 3),), None, i, Path("list.txt")) for i in range(8)]
        >>> count_values(labels)
        {0.0: 3, 1.0: 3, 2.0: 2}
    """
    return {value: len(images) for value, images in sorted(group_by_value(labels, step).items())}


def _by_frequency(by_value: Mapping[float, Sequence[Label]]) -> list[float]:
    return sorted(by_value, key=lambda value: (-len(by_value[value]), value))


def random_split(labels: Sequence[Label], fraction: float, seed: int) -> tuple[list[Label], list[Label]]:
    """Set a random part of a list aside.

    If the labels have groups, groups are kept whole. Otherwise the part is stratified: the images are sorted by target,
    ties in random order, and taken at even distances from a random start. This keeps the share of every value to
    within one image, and also works for targets that rarely repeat.

    Args:
        labels: The labelled images.
        fraction: Share of the images to set aside, in (0, 1). At least one image goes to each side.
        seed: Seed of the draw.

    Returns:
        The rest and the part set aside.

    Raises:
        ConfigError: If `fraction` is outside (0, 1).
        DataError: If there is only one image, or only one group.

    Example:
        >>> from pathlib import Path
        >>> labels = [Label(f"{i}.jpg", (float(i % 2),), None, i, Path("list.txt")) for i in range(20)]
        >>> rest, part = random_split(labels, fraction=0.2, seed=0)
        >>> len(rest), sorted(label.target for label in part)
        (16, [0.0, 0.0, 1.0, 1.0])
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"fraction={fraction} must be between 0 and 1, both excluded")
    if len(labels) < 2:
        raise DataError(f"can't split {len(labels)} images in two; give another list")
    ordered = sorted(labels, key=sort_key)
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
    """Take whole groups in random order; leave out a group that would exceed the wanted number."""
    shuffled = group_labels(ordered)
    if len(shuffled) < 2:
        raise DataError(f"all {len(ordered)} images belong to group {ordered[0].group!r}, which can't be split in two")
    rng.shuffle(shuffled)
    part: list[Label] = []
    for group in shuffled:
        if len(part) + len(group) <= wanted:
            part += group
    return part or min(shuffled, key=len)


def group_labels(labels: Sequence[Label]) -> list[list[Label]]:
    """Return the groups, in order of their first entries; an image without a group is its own group."""
    groups: dict[tuple[str, ...], list[Label]] = {}
    for label in labels:
        groups.setdefault((label.group,) if label.group is not None else ("", label.path), []).append(label)
    return list(groups.values())


def sort_key(label: Label) -> tuple[str, str]:
    """Return the sorting key of every draw, which makes it independent of the list's order."""
    return path_key(label.path), label.path
