import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from numclip_lightning.data.base.labels import Label
from numclip_lightning.data.base.splits import few_shots, long_tail, random_split, shift_values
from numclip_lightning.errors import ConfigError, DataError


def labels(targets: list[float], groups: Sequence[str | None] | None = None) -> list[Label]:
    known = groups or [None] * len(targets)
    return [
        Label(f"{i:04d}.jpg", (target,), group, i, Path("list.txt"))
        for i, (target, group) in enumerate(zip(targets, known, strict=True), start=1)
    ]


def shuffled(table: list[Label]) -> list[Label]:
    return random.Random(1).sample(table, len(table))


TARGETS = [1.0] * 100 + [2.0] * 40 + [3.5] * 3


def test_few_shots_takes_k_of_every_value() -> None:
    table = labels(TARGETS)
    kept = few_shots(table, 4, seed=0)
    assert Counter(label.target for label in kept) == {1.0: 4, 2.0: 4, 3.5: 3}
    assert kept == sorted(kept, key=lambda label: label.line)
    assert kept != few_shots(table, 4, seed=1)
    assert set(few_shots(shuffled(table), 4, seed=0)) == set(kept)
    assert set(kept) < set(few_shots(table, 8, seed=0))
    assert set(few_shots([label for label in table if label.target != 2.0], 4, seed=0)) < set(kept)


def test_few_shots_leaves_global_random_states_alone() -> None:
    random.seed(0)
    expected = random.random()
    random.seed(0)
    few_shots(labels(TARGETS), 2, seed=3)
    random_split(labels(TARGETS), 0.5, seed=3)
    assert random.random() == expected


def test_few_shots_needs_a_shot() -> None:
    with pytest.raises(ConfigError, match="shots=0 must be at least 1"):
        few_shots(labels(TARGETS), 0, seed=0)


def test_a_shift_cuts_the_most_frequent_values() -> None:
    table = labels([*TARGETS, *[9.0] * 40])
    kept = shift_values(table, 2, 0.1, seed=0)
    # 2.0 and 9.0 are equally frequent: the smaller is cut.
    assert Counter(label.target for label in kept) == {1.0: 10, 2.0: 4, 3.5: 3, 9.0: 40}
    assert kept == sorted(kept, key=lambda label: label.line)
    assert set(shift_values(shuffled(table), 2, 0.1, seed=0)) == set(kept)
    assert set(shift_values(table, 2, 0.1, seed=1)) != set(kept)
    assert set(kept) < set(shift_values(table, 2, 0.2, seed=0))
    smallest = shift_values(table, 9, 0.001, seed=0)
    assert Counter(label.target for label in smallest) == {1.0: 1, 2.0: 1, 3.5: 1, 9.0: 1}


def test_a_shift_rounds_down_as_ordinalclip_does() -> None:
    table = labels([1.0] * 19 + [2.0] * 3)
    assert len(shift_values(table, 1, 0.1, seed=0)) == 1 + 3


@pytest.mark.parametrize("ratio", [1.0, 2.5, 10.0, 100.0])
def test_a_long_tail_falls_off_exponentially(ratio: float) -> None:
    table = labels([float(value) for value in range(6) for _ in range(200)])
    counts = Counter(label.target for label in long_tail(table, ratio, seed=0))
    # Slowly, from the formula: each value is rarer than the one before by the same factor.
    expected, size = [], 200.0
    for _ in range(6):
        expected.append(size)
        size /= ratio**0.2
    assert [counts[float(value)] for value in range(6)] == [pytest.approx(size, abs=0.51) for size in expected]
    assert counts[5.0] == 200 / ratio


def test_a_long_tail_keeps_an_image_and_takes_no_more_than_there_are() -> None:
    table = labels(TARGETS)
    assert Counter(label.target for label in long_tail(table, 4, seed=0)) == {1.0: 100, 2.0: 40, 3.5: 3}
    assert Counter(label.target for label in long_tail(table, 1000, seed=0)) == {1.0: 100, 2.0: 3, 3.5: 1}
    assert long_tail(table, 1, seed=0) == table
    assert long_tail(labels([1.0] * 5), 10, seed=0) == labels([1.0] * 5)
    assert long_tail([], 10, seed=0) == []
    kept = set(long_tail(table, 100, seed=0))
    assert kept == set(long_tail(shuffled(table), 100, seed=0))
    assert kept != set(long_tail(table, 100, seed=1))
    assert kept < set(long_tail(table, 10, seed=0))


def test_what_shifts_and_long_tails_refuse() -> None:
    with pytest.raises(ConfigError, match="number=0 must be at least 1"):
        shift_values(labels(TARGETS), 0, 0.5, seed=0)
    for factor in (0.0, 1.0):
        with pytest.raises(ConfigError, match=f"factor={factor} must be between 0 and 1"):
            shift_values(labels(TARGETS), 1, factor, seed=0)
    for ratio in (0.5, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match=f"ratio={ratio} must be a number of at least 1"):
            long_tail(labels(TARGETS), ratio, seed=0)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.25, 0.5, 0.9])
def test_random_split_is_stratified(fraction: float) -> None:
    table = labels(TARGETS)
    rest, part = random_split(table, fraction, seed=0)
    assert sorted([*rest, *part], key=lambda label: label.line) == table
    assert len(part) == round(len(table) * fraction)
    counts = Counter(label.target for label in part)
    for value, count in Counter(TARGETS).items():
        assert abs(counts[value] - count * fraction) <= 1
    assert part == sorted(part, key=lambda label: label.line)


def test_random_split_depends_on_entries_and_seed_alone() -> None:
    table = labels([i / 7 for i in range(50)])
    _, part = random_split(table, 0.2, seed=5)
    assert set(random_split(shuffled(table), 0.2, seed=5)[1]) == set(part)
    assert random_split(table, 0.2, seed=6)[1] != part


def test_random_split_chooses_every_image_equally_often() -> None:
    table = labels([1.0] * 6 + [2.0] * 4)
    counts = Counter(label.line for seed in range(2000) for label in random_split(table, 0.3, seed)[1])
    assert all(0.25 < counts[line] / 2000 < 0.35 for line in range(1, 11))


@pytest.mark.slow
def test_draws_are_the_same_in_every_process() -> None:
    """Python salts the hash of strings in each process; neither draw may depend on it."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_splits import TARGETS, labels, few_shots, random_split\n"
        "groups = [f'p{i % 9}' for i in range(len(TARGETS))]\n"
        "parts = few_shots(labels(TARGETS), 2, 0), random_split(labels(TARGETS), 0.1, 0)[1],"
        "random_split(labels(TARGETS, groups), 0.3, 0)[1]\n"
        "print([[label.line for label in part] for part in parts])"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    other = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    groups = [f"p{i % 9}" for i in range(len(TARGETS))]
    parts = (
        few_shots(labels(TARGETS), 2, 0),
        random_split(labels(TARGETS), 0.1, 0)[1],
        random_split(labels(TARGETS, groups), 0.3, 0)[1],
    )
    assert other.strip() == str([[label.line for label in part] for part in parts])


def test_groups_are_never_split() -> None:
    rng = random.Random(0)
    table = labels([rng.random() for _ in range(300)], [f"p{rng.randrange(60)}" for _ in range(300)])
    for seed in range(5):
        rest, part = random_split(table, 0.2, seed)
        assert not {label.group for label in rest} & {label.group for label in part}
        assert 50 <= len(part) <= 60
        assert set(random_split(shuffled(table), 0.2, seed)[1]) == set(part)


def test_images_without_a_group_are_their_own_group() -> None:
    rest, part = random_split(labels([1.0] * 10, ["a"] * 5 + [None] * 5), 0.3, seed=0)
    assert len(part) == 3
    assert {label.group for label in part} == {None}
    assert len(rest) == 7


def test_a_single_small_group_is_taken_if_none_fits() -> None:
    _, part = random_split(labels([1.0] * 10, ["a"] * 6 + ["b"] * 4), 0.1, seed=0)
    assert {label.group for label in part} == {"b"}


def test_both_sides_of_a_split_get_an_image() -> None:
    assert [len(side) for side in random_split(labels([1.0, 2.0]), 0.01, seed=0)] == [1, 1]
    assert [len(side) for side in random_split(labels([1.0, 2.0]), 0.99, seed=0)] == [1, 1]


def test_a_list_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"fraction=1.0 must be between 0 and 1"):
        random_split(labels([1.0, 2.0]), 1.0, seed=0)
    with pytest.raises(DataError, match="can't split 1 images in two"):
        random_split(labels([1.0]), 0.5, seed=0)
    with pytest.raises(DataError, match="all 2 images belong to group 'a'"):
        random_split(labels([1.0, 2.0], ["a", "a"]), 0.5, seed=0)
