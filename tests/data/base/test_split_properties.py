"""Splits, folds and few shots of drawn lists: they partition, keep groups together, and are the same every time."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume
from hypothesis import strategies as st

from numclip_lightning.data.base.folds import cross_validate, k_folds, leave_group_out, split_each_value
from numclip_lightning.data.base.labels import Label
from numclip_lightning.data.base.splits import few_shots, long_tail, shift_values
from numclip_lightning.errors import DataError
from support.properties import holds_for

numbers = st.lists(st.integers(0, 5), min_size=1, max_size=60)


def table(targets: list[int], groups: list[str | None] | None = None) -> list[Label]:
    """A list with a line for each target."""
    return [
        Label(f"{line}.jpg", (float(target),), groups[line - 1] if groups else None, line, Path("list.csv"))
        for line, target in enumerate(targets, 1)
    ]


def many(labels: list[Label], target: int) -> int:
    return sum(label.target == target for label in labels)


def lines(labels: list[Label]) -> list[int]:
    return [label.line for label in labels]


@holds_for(numbers, st.integers(2, 8), st.integers(0, 9), few=20)
def test_folds_partition_a_list_and_every_value_alike(targets: list[int], folds: int, seed: int) -> None:
    labels = table(targets)
    if len(labels) < folds:
        with pytest.raises(DataError):
            k_folds(labels, folds, seed)
        return
    parts = k_folds(labels, folds, seed)
    assert sorted(line for part in parts for line in lines(part)) == lines(labels)
    for sizes in ([len(part) for part in parts], *([many(part, t) for part in parts] for t in range(6))):
        assert max(sizes) - min(sizes) <= 1
    for fold in range(folds):
        rest, part = cross_validate(labels, folds, fold, seed)
        assert part == parts[fold]
        assert sorted(lines(rest) + lines(part)) == lines(labels)
    shuffled = k_folds(labels[::-1], folds, seed)
    assert [sorted(lines(part)) for part in shuffled] == [sorted(lines(part)) for part in parts]


@holds_for(st.lists(st.sampled_from("abcd"), min_size=2, max_size=30), few=20)
def test_a_group_is_left_out_whole(groups: list[str]) -> None:
    assume(len(set(groups)) > 1)
    labels = table([0] * len(groups), list(groups))
    out = [leave_group_out(labels, fold) for fold in range(len(set(groups)))]
    assert sorted(line for _, part in out for line in lines(part)) == lines(labels)
    for rest, part in out:
        assert len({label.group for label in part}) == 1
        assert not {label.group for label in rest} & {label.group for label in part}
    with pytest.raises(DataError, match="would be split"):
        k_folds(labels, 2, 0)


@pytest.mark.parametrize("sizes", [(1, 1, 2), (1, 8, 1), (1, 9, 9), (9, 1, 1)])
def test_three_images_of_a_value_are_one_for_each_part(sizes: tuple[int, int, int]) -> None:
    parts = split_each_value(table([2, 2, 2]), sizes, 0, seed=0)
    assert [len(part) for part in parts.values()] == [1, 1, 1]


@holds_for(numbers, st.tuples(*[st.integers(1, 20)] * 3), st.integers(0, 9), few=30)
def test_each_value_is_in_each_part(targets: list[int], sizes: tuple[int, int, int], seed: int) -> None:
    labels, counts = table(targets), Counter(targets)
    if min(counts.values()) < 3:
        with pytest.raises(DataError, match="need one each"):
            split_each_value(labels, sizes, 0, seed)
        return
    parts = split_each_value(labels, sizes, 0, seed)
    assert sorted(line for part in parts.values() for line in lines(part)) == lines(labels)
    assert all({label.target for label in part} == set(map(float, counts)) for part in parts.values())


@holds_for(numbers, st.integers(1, 9), st.integers(0, 9), few=30)
def test_few_shots_are_as_many_as_asked_and_among_more(targets: list[int], shots: int, seed: int) -> None:
    labels, counts = table(targets), Counter(targets)
    found = few_shots(labels, shots, seed)
    assert Counter(label.target for label in found) == {t: min(shots, n) for t, n in counts.items()}
    assert set(lines(found)) <= set(lines(few_shots(labels, shots + 1, seed)))
    assert lines(found) == sorted(lines(found))
    # The draw of a value does not depend on the others.
    alone = few_shots([label for label in labels if label.target == targets[0]], shots, seed)
    assert lines(alone) == [label.line for label in found if label.target == targets[0]]


@holds_for(numbers, st.integers(1, 4), st.floats(0.05, 0.95), st.floats(1, 50), st.integers(0, 9), few=30)
def test_what_is_cut_keeps_each_value_and_never_adds(
    targets: list[int], most: int, factor: float, tail: float, seed: int
) -> None:
    labels, counts = table(targets), Counter(map(float, targets))
    for found in (shift_values(labels, most, factor, seed), long_tail(labels, tail, seed)):
        assert set(lines(found)) <= set(lines(labels))
        kept = Counter(label.target for label in found)
        assert kept.keys() == counts.keys()
        assert all(kept[value] <= counts[value] for value in counts)
