import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from numclip_lightning.data.base.folds import cross_validate, k_folds, leave_group_out, split_each_value
from numclip_lightning.data.base.labels import Label
from numclip_lightning.errors import ConfigError, DataError


def labels(targets: list[float]) -> list[Label]:
    return [Label(f"{i:04d}.jpg", (target,), None, i, Path("list.txt")) for i, target in enumerate(targets, start=1)]


def of_persons(number: int, persons: int) -> list[Label]:
    """Images of people, the first of whom have many."""
    rng = random.Random(0)
    who = [f"p{min(rng.randrange(persons), rng.randrange(persons)):02d}" for _ in range(number)]
    return [replace(label, group=group) for label, group in zip(labels([1.0] * number), who, strict=True)]


def shuffled(table: list[Label]) -> list[Label]:
    return random.Random(1).sample(table, len(table))


def groups(table: list[Label]) -> set[str | None]:
    return {label.group for label in table}


TABLE = labels([1.0] * 101 + [2.0] * 43 + [3.5] * 3)


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_folds_are_even_in_size_and_in_values(folds: int) -> None:
    parts = k_folds(TABLE, folds, seed=0)
    assert sorted((label for part in parts for label in part), key=lambda label: label.line) == TABLE
    assert all(len(part) in (len(TABLE) // folds, -(-len(TABLE) // folds)) for part in parts)
    for value, count in Counter(label.target for label in TABLE).items():
        assert all(abs(sum(label.target == value for label in part) - count / folds) < 1 for part in parts)
    assert all(part == sorted(part, key=lambda label: label.line) for part in parts)


def test_folds_depend_on_entries_and_seed_alone() -> None:
    parts = [set(part) for part in k_folds(TABLE, 5, seed=3)]
    assert [set(part) for part in k_folds(shuffled(TABLE), 5, seed=3)] == parts
    assert [set(part) for part in k_folds(TABLE, 5, seed=4)] != parts


def test_every_image_is_tested_on_once() -> None:
    folds = [cross_validate(TABLE, 5, fold, seed=0) for fold in range(5)]
    assert Counter(label for _, part in folds for label in part) == Counter(TABLE)
    for rest, part in folds:
        assert set(rest) | set(part) == set(TABLE)
        assert not set(rest) & set(part)


def test_each_group_is_left_out_once() -> None:
    people = of_persons(100, 12)
    names = sorted({str(label.group) for label in people})
    for fold, name in enumerate(names):
        rest, part = leave_group_out(shuffled(people), fold)
        assert groups(part) == {name}
        assert groups(rest) == set(names) - {name}
        assert len(rest) + len(part) == 100


def test_sizes_of_each_value() -> None:
    table = labels([1.0] * 20 + [2.0] * 40)
    splits = split_each_value(table, (14, 2, 4), fold=0, seed=0)
    found = {part: Counter(label.target for label in part_labels) for part, part_labels in splits.items()}
    assert found == {"train": {1.0: 14, 2.0: 28}, "val": {1.0: 2, 2.0: 4}, "test": {1.0: 4, 2.0: 8}}
    assert split_each_value(shuffled(table), (14, 2, 4), fold=0, seed=0) == splits
    assert split_each_value(table, (14, 2, 4), fold=1, seed=0) != splits
    assert split_each_value(table, (14, 2, 4), fold=0, seed=1) != splits


def test_a_list_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(ConfigError, match="folds=1 must be at least 2"):
        k_folds(TABLE, 1, seed=0)
    with pytest.raises(DataError, match="can't divide 3 images into 5 folds"):
        k_folds(TABLE[:3], 5, seed=0)
    with pytest.raises(ConfigError, match="fold=5 doesn't exist; choose 0 to 4"):
        cross_validate(TABLE, 5, 5, seed=0)
    with pytest.raises(DataError, match=r"list\.txt:1: '0001\.jpg' has no group, so none can be left out"):
        leave_group_out(TABLE, 0)
    alone = [replace(label, group="ann") for label in TABLE]
    with pytest.raises(DataError, match="all 147 images belong to one group, which can't be left out"):
        leave_group_out(alone, 0)
    with pytest.raises(ConfigError, match="fold=-1 doesn't exist among 2 groups; choose 0 to 1"):
        leave_group_out([*alone[:3], replace(TABLE[5], group="bob")], -1)
    message = r"list\.txt:1: the value 1 has 2 images; training, validation and test need one each: add images of it"
    with pytest.raises(DataError, match=message):
        split_each_value(TABLE[:2], (1, 1, 1), fold=0, seed=0)
    with pytest.raises(DataError, match=r"list\.txt:1: group 'ann' would be split; leave a group out, or"):
        split_each_value(alone, (1, 1, 1), fold=0, seed=0)
    with pytest.raises(DataError, match=r"list\.txt:1: group 'ann' would be split"):
        k_folds(alone, 5, seed=0)
