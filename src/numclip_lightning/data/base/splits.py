"""Splits of a list in two, and what protocols keep of a training list, each with its own seed.

Every function sorts by path before it draws, and draws with Python's own generator. So a split depends on the entries
and the seed alone: not on the order of the list, the machine, or any global random state. Entries are returned in the
order they came in.
"""

import random
from collections.abc import Mapping, Sequence

from numclip_lightning.data.base.labels import Label
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.errors import ConfigError, DataError

__all__ = ["few_shots", "group_labels", "long_tail", "random_split", "shift_values", "sort_key"]


def few_shots(labels: Sequence[Label], shots: int, seed: int, step: float | None = None) -> list[Label]:
    """Keep `shots` images of every exact value, or all of them where there are fewer.

    Each value is drawn by itself: the draw for age 31 is the same whatever other ages the list has, and the images of a
    smaller number of shots are among those of a larger one.

    Args:
        labels: The labelled images.
        shots: Images per value, at least 1.
        seed: Seed of the draw.
        step: Width of what counts as one value, as for mean opinion scores; None counts exact values.

    Raises:
        ConfigError: If `shots` is less than 1.
    """
    if shots < 1:
        raise ConfigError(f"shots={shots} must be at least 1")
    return _keep(labels, dict.fromkeys(_by_value(labels, step), shots), f"shots {seed}", step)


def shift_values(
    labels: Sequence[Label], number: int, factor: float, seed: int, step: float | None = None
) -> list[Label]:
    """Shift the distribution of the values: cut the most frequent ones, as OrdinalCLIP's experiments do.

    Args:
        labels: The labelled images.
        number: How many of the most frequent values are cut; among equally frequent ones, the smaller first.
        factor: What is kept of a cut value: `max(1, int(n * factor))` of its n images. In (0, 1).
        seed: Seed of the draw; the images of a smaller factor are among those of a larger one.
        step: As in `few_shots`.

    Raises:
        ConfigError: If `number` is less than 1, or `factor` lies outside (0, 1).
    """
    if number < 1:
        raise ConfigError(f"number={number} must be at least 1")
    if not 0 < factor < 1:
        raise ConfigError(f"factor={factor} must lie between 0 and 1, both excluded")
    by_value = _by_value(labels, step)
    kept = {value: max(1, int(len(by_value[value]) * factor)) for value in _by_frequency(by_value)[:number]}
    return _keep(labels, kept, f"shift {seed}", step)


def long_tail(labels: Sequence[Label], ratio: float, seed: int, step: float | None = None) -> list[Label]:
    """Give the values a long tail, so that the most frequent one is `ratio` times as frequent as the rarest.

    Of V values, the i-th most frequent (from 0; among equally frequent ones, the smaller first) keeps
    `round(n_max * ratio ** (-i / (V - 1)))` images, n_max being the images of the most frequent one: at least 1, and
    never more than it has. So a list that is uneven already may end more uneven than `ratio`.

    Args:
        labels: The labelled images.
        ratio: The imbalance, at least 1.
        seed: Seed of the draw; the images of a larger ratio are among those of a smaller one.
        step: As in `few_shots`.

    Raises:
        ConfigError: If `ratio` is less than 1 or not finite.
    """
    if not 1 <= ratio < float("inf"):
        raise ConfigError(f"ratio={ratio} must be a number of at least 1")
    by_value = _by_value(labels, step)
    order = _by_frequency(by_value)
    most, last = max(map(len, by_value.values()), default=0), max(len(order) - 1, 1)
    kept = {value: max(1, round(most * ratio ** (-i / last))) for i, value in enumerate(order)}
    return _keep(labels, kept, f"long tail {seed}", step)


def _keep(labels: Sequence[Label], kept: Mapping[float, int], draw: str, step: float | None) -> list[Label]:
    """Keep so many images of each value, drawn for every value by itself; all of a value that isn't named."""
    dropped: set[Label] = set()
    for value, candidates in _by_value(labels, step).items():
        random.Random(f"{draw} {value}").shuffle(candidates)
        dropped.update(candidates[kept.get(value, len(candidates)) :])
    return [label for label in labels if label not in dropped]


def _by_value(labels: Sequence[Label], step: float | None) -> dict[float, list[Label]]:
    by_value: dict[float, list[Label]] = {}
    for label in sorted(labels, key=sort_key):
        value = label.target if step is None else round(label.target / step) * step
        by_value.setdefault(value, []).append(label)
    return by_value


def _by_frequency(by_value: Mapping[float, Sequence[Label]]) -> list[float]:
    return sorted(by_value, key=lambda value: (-len(by_value[value]), value))


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
    """Fill up with whole groups in random order; one that would overfill is left out."""
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
    """The groups, in order of their first entries; an image without a group stands for itself."""
    groups: dict[tuple[str, ...], list[Label]] = {}
    for label in labels:
        groups.setdefault((label.group,) if label.group is not None else ("", label.path), []).append(label)
    return list(groups.values())


def sort_key(label: Label) -> tuple[str, str]:
    """The order in which every draw takes the entries, whatever order they came in."""
    return path_key(label.path), label.path
