"""Folds of the papers' protocols: cross-validation, fixed numbers of each value, one group left out.

As in `splits`, a draw depends only on the entries and the seed, and entries are returned in their given order.
"""

import random
from collections.abc import Callable, Sequence

from numclip_lightning.data.base.labels import Label
from numclip_lightning.data.base.splits import sort_key
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import ConfigError, DataError, format_number

__all__ = ["check_fold", "cross_validate", "k_folds", "leave_group_out", "split_each_value"]


def k_folds(labels: Sequence[Label], folds: int, seed: int) -> list[list[Label]]:
    """Divide a list into stratified parts.

    The images are sorted by target, ties in random order, and distributed in turn. So two parts differ by at most one
    image in their size and in the number of images of any value.

    Args:
        labels: The labelled images.
        folds: Number of parts, at least 2.
        seed: Seed of the draw.

    Raises:
        ConfigError: If `folds` is less than 2.
        DataError: If there are fewer images than parts, or the labels have groups, which these parts would split.

    Example:
        >>> from pathlib import Path
        >>> labels = [Label(f"{i}.jpg", (float(i % 2),), None, i, Path("list.txt")) for i in range(6)]
        >>> [sorted(label.target for label in part) for part in k_folds(labels, folds=3, seed=0)]
        [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    """
    if folds < 2:
        raise ConfigError(f"folds={folds} must be at least 2")
    if len(labels) < folds:
        raise DataError(f"can't divide {len(labels)} images into {folds} folds; give another list")
    _refuse_groups(labels)
    rng = random.Random(f"folds {seed}")
    ordered = sorted(labels, key=sort_key)
    keys = {label: (label.target, rng.random()) for label in ordered}
    start = rng.randrange(folds)
    part_of = {label: (start + i) % folds for i, label in enumerate(sorted(ordered, key=keys.__getitem__))}
    return [[label for label in labels if part_of[label] == part] for part in range(folds)]


def cross_validate(labels: Sequence[Label], folds: int, fold: int, seed: int) -> tuple[list[Label], list[Label]]:
    """Split off one part of `k_folds`; every image is in the part of exactly one fold.

    Args:
        labels: The labelled images.
        folds: Number of parts, at least 2.
        fold: Which of them, from 0.
        seed: Seed of the draw, the same for all folds of a series.

    Returns:
        The rest and the part.

    Raises:
        ConfigError: If there is no such fold.
        DataError: If there are fewer images than parts, or the labels have groups.
    """
    check_fold(fold, folds)
    parts = k_folds(labels, folds, seed)
    part = set(parts[fold])
    return [label for label in labels if label not in part], parts[fold]


def leave_group_out(labels: Sequence[Label], fold: int) -> tuple[list[Label], list[Label]]:
    """Split off one group, such as one person; nothing is random.

    Args:
        labels: The images, each with a group.
        fold: Index of the group, from 0, in the order of the groups' names.

    Returns:
        The rest and the group.

    Raises:
        ConfigError: If there is no such fold.
        DataError: If a label has no group, or there are fewer than two.
    """
    for label in labels:
        if label.group is None:
            raise DataError(f"{label.where}: {label.path!r} has no group, so none can be left out")
    names = sorted({str(label.group) for label in labels})
    if len(names) < 2:
        raise DataError(f"all {len(labels)} images belong to one group, which can't be left out")
    check_fold(fold, len(names), f" among {len(names)} groups")
    part = [label for label in labels if label.group == names[fold]]
    return [label for label in labels if label.group != names[fold]], part


def split_each_value(
    labels: Sequence[Label],
    sizes: tuple[int, int, int],
    fold: int,
    seed: int,
    key: Callable[[Label], object] = sort_key,
) -> dict[Split, list[Label]]:
    """Divide the images of every value by fixed sizes.

    Folds are independent draws, so their test parts overlap. Values with more or fewer images than the sizes add up to
    keep their proportions; at least one image of each value goes to each part.

    Args:
        labels: The labelled images.
        sizes: Images of a value for training, validation and testing.
        fold: Number of the draw.
        seed: Seed of the series of folds.
        key: Identifies an image and can be sorted; the draw depends on it and not on the order of the list.

    Returns:
        The labels of each split, in the order of their values and keys.

    Raises:
        DataError: If a value has fewer than three images, or the labels have groups, which this split would divide.
    """
    _refuse_groups(labels)
    by_value: dict[float, list[Label]] = {}
    for label in sorted(labels, key=lambda label: (label.target, key(label))):
        by_value.setdefault(label.target, []).append(label)
    splits: dict[Split, list[Label]] = {"train": [], "val": [], "test": []}
    for value, members in by_value.items():
        count = len(members)
        if count < 3:
            raise DataError(
                f"{members[0].where}: the value {format_number(value)} has {count} images; training, validation and "
                "test need one each: add images of it, or correct or remove these"
            )
        num_val, num_test = (max(1, round(count * size / sum(sizes))) for size in sizes[1:])
        # One is left for each of the other parts, however large this one is.
        num_test = min(num_test, count - 2)
        num_val = min(num_val, count - 1 - num_test)
        order = list(range(count))
        random.Random(f"each value {seed} {fold} {value}").shuffle(order)
        test, val = set(order[:num_test]), set(order[num_test : num_test + num_val])
        for i, label in enumerate(members):
            splits["test" if i in test else "val" if i in val else "train"].append(label)
    return splits


def check_fold(fold: int, folds: int, of: str = "") -> None:
    """Raise ConfigError unless the fold exists.

    Args:
        fold: Its number.
        folds: How many there are, from 0.
        of: Where these folds belong, for the message: `" in setting='B'"`.
    """
    if not 0 <= fold < folds:
        raise ConfigError(f"fold={fold} doesn't exist{of}; choose 0 to {folds - 1}")


def _refuse_groups(labels: Sequence[Label]) -> None:
    if grouped := next((label for label in labels if label.group is not None), None):
        raise DataError(
            f"{grouped.where}: group {grouped.group!r} would be split; leave a group out, or give labels without groups"
        )
