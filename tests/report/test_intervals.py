"""Bootstrap and sign flips against SciPy and slow loops, over images and over groups."""

import doctest
import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from numclip_lightning.errors import ConfigError
from numclip_lightning.report import intervals, resampling
from numclip_lightning.report.intervals import bootstrap_difference, bootstrap_mean, sign_flip_test

Array = NDArray[np.float64]
seeds = pytest.mark.parametrize("seed", range(3))


def errors(size: int, seed: int, shift: float = 0.0) -> tuple[Array, Array]:
    """Return the errors of two methods on the same images; hard images are hard for both."""
    random = np.random.default_rng(seed)
    hard = random.exponential(5, size)
    return hard + random.normal(shift, 0.5, size), hard + random.normal(0, 0.5, size)


def patients(size: int, seed: int) -> list[str]:
    return [f"patient {number}" for number in np.random.default_rng(seed).integers(0, size // 4, size)]


@seeds
class TestBootstrapAgainstSciPy:
    @pytest.mark.parametrize("level", [0.8, 0.95])
    def test_a_mean(self, seed: int, level: float) -> None:
        numbers, _ = errors(30, seed)
        found = bootstrap_mean(numbers, level=level, resamples=500, seed=seed)
        expected = stats.bootstrap(
            (numbers,),
            np.mean,
            n_resamples=500,
            confidence_level=level,
            method="percentile",
            random_state=np.random.default_rng(seed),
        ).confidence_interval
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
        assert found.mean == pytest.approx(numbers.mean())
        assert (found.level, found.images, found.groups) == (level, 30, 30)

    def test_a_mean_over_groups(self, seed: int) -> None:
        numbers, _ = errors(60, seed)
        names = np.array(patients(60, seed))
        parts = [numbers[names == name] for name in np.unique(names)]
        sums, counts = np.array([part.sum() for part in parts]), np.array([len(part) for part in parts])
        found = bootstrap_mean(numbers, groups=names, resamples=500, seed=seed)
        expected = stats.bootstrap(
            (sums, counts),
            lambda s, n, axis: s.sum(axis=axis) / n.sum(axis=axis),
            paired=True,
            n_resamples=500,
            method="percentile",
            random_state=np.random.default_rng(seed),
        ).confidence_interval
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
        assert found.groups == len(parts)

    def test_a_difference(self, seed: int) -> None:
        ours, theirs = errors(40, seed, shift=0.2)
        found = bootstrap_difference(ours, theirs, resamples=999, seed=seed)
        draws = np.random.default_rng(seed)
        reference = stats.bootstrap((ours - theirs,), np.mean, n_resamples=999, method="percentile", random_state=draws)
        expected, drawn = reference.confidence_interval, reference.bootstrap_distribution
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
        beyond = min((drawn <= 0).sum(), (drawn >= 0).sum())
        assert found.p == pytest.approx(min(1, 2 * (beyond + 1) / 1000))


class TestBootstrap:
    def test_groups_against_a_slow_loop(self) -> None:
        numbers, names = [1.0, 2.0, 6.0, 0.0, 3.0], ["a", "a", "b", "c", "c"]
        random, means = np.random.default_rng(4), []
        members = {"a": [1.0, 2.0], "b": [6.0], "c": [0.0, 3.0]}
        for row in random.integers(0, 3, (200, 3)):
            images = [number for place in row for number in members["abc"[place]]]
            means.append(sum(images) / len(images))
        found = bootstrap_mean(numbers, groups=names, resamples=200, seed=4)
        assert (found.low, found.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))

    def test_what_is_held_at_a_time_changes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        numbers, _ = errors(50, seed=1)
        at_once = bootstrap_mean(numbers, resamples=300)
        monkeypatch.setattr(resampling, "_HELD", 7 * 50)
        assert bootstrap_mean(numbers, resamples=300) == at_once

    def test_the_interval_covers_the_truth_as_often_as_it_says(self) -> None:
        random = np.random.default_rng(0)
        found = [bootstrap_mean(random.normal(3, 1, 60), level=0.9, resamples=400, seed=k) for k in range(400)]
        assert np.mean([one.low <= 3 <= one.high for one in found]) == pytest.approx(0.9, abs=0.04)

    def test_copies_of_images_in_groups_add_no_certainty(self) -> None:
        numbers, _ = errors(30, seed=2)
        copies, names = np.repeat(numbers, 10), np.repeat(np.arange(30), 10)
        alone, grouped = bootstrap_mean(numbers), bootstrap_mean(copies, groups=names)
        assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high))
        assert bootstrap_mean(copies).high - bootstrap_mean(copies).low < 0.5 * (alone.high - alone.low)

    def test_pairs_see_what_single_intervals_hide(self) -> None:
        ours, theirs = errors(200, seed=3, shift=0.3)
        one, other = bootstrap_mean(ours), bootstrap_mean(theirs)
        assert one.low < other.high
        found = bootstrap_difference(ours, theirs)
        assert found.low > 0
        assert found.p < 0.01

    def test_the_other_way_round_is_the_mirror(self) -> None:
        ours, theirs = errors(50, seed=5)
        one, other = bootstrap_difference(ours, theirs), bootstrap_difference(theirs, ours)
        assert (other.mean, other.low, other.high, other.p) == pytest.approx((-one.mean, -one.high, -one.low, one.p))

    def test_methods_that_are_equal_on_every_image(self) -> None:
        found = bootstrap_difference([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
        assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)

    def test_the_seed_is_an_argument(self) -> None:
        numbers, _ = errors(30, seed=0)
        assert bootstrap_mean(numbers, seed=1) == bootstrap_mean(numbers, seed=1)
        assert bootstrap_mean(numbers, seed=1) != bootstrap_mean(numbers, seed=2)


class TestSignFlips:
    @seeds
    def test_all_signs_against_scipy(self, seed: int) -> None:
        ours, theirs = errors(9, seed, shift=0.3)
        expected = stats.permutation_test(
            (ours, theirs),
            lambda x, y, axis: np.mean(x - y, axis=axis),
            permutation_type="samples",
            n_resamples=np.inf,
        ).pvalue
        assert sign_flip_test(ours, theirs) == pytest.approx(expected)

    @seeds
    def test_drawn_signs_come_near_all_signs(self, seed: int) -> None:
        ours, theirs = errors(14, seed, shift=0.3)
        exact = sign_flip_test(ours, theirs, resamples=2**14)
        drawn = sign_flip_test(ours, theirs, resamples=9999, seed=seed)
        assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 9999) + 1e-4)

    def test_groups_flip_whole(self) -> None:
        differences, names = [0.5, -0.1, 0.4, 0.3, -0.2, 0.6], [0, 0, 1, 2, 2, 3]
        observed, hits = abs(sum(differences)), 0
        for signs in itertools.product([1, -1], repeat=4):
            total = sum(signs[name] * number for name, number in zip(names, differences, strict=True))
            hits += abs(total) >= observed - 1e-12
        assert sign_flip_test(differences, [0.0] * 6, groups=names) == pytest.approx(hits / 16)

    def test_copies_of_images_in_groups_add_no_certainty(self) -> None:
        ours, theirs = errors(10, seed=1, shift=0.3)
        names = np.repeat(np.arange(10), 5)
        grouped = sign_flip_test(np.repeat(ours, 5), np.repeat(theirs, 5), groups=names)
        assert grouped == pytest.approx(sign_flip_test(ours, theirs))

    def test_many_images_that_differ(self) -> None:
        ours, theirs = errors(3000, seed=0, shift=0.2)
        assert sign_flip_test(ours, theirs, resamples=999) == pytest.approx(1 / 1000)

    def test_under_chance_p_is_spread_evenly(self) -> None:
        found = [sign_flip_test(*errors(40, seed), resamples=199) for seed in range(300)]
        assert np.mean(np.array(found) <= 0.2) == pytest.approx(0.2, abs=0.06)

    def test_methods_that_are_equal_on_every_image(self) -> None:
        assert sign_flip_test([1.0, 2.0], [1.0, 2.0]) == 1
        assert sign_flip_test(np.ones(100), np.ones(100)) == 1

    def test_equal_sums_in_another_order_count_as_equal(self) -> None:
        # 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ in the last bit.
        numbers = [0.1, 0.2, 0.3, -0.3, -0.2, -0.1]
        assert sign_flip_test(numbers, np.zeros(6)) == 1


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("numbers", "message"),
        [
            ([], "give one number for each image"),
            ([[1.0], [2.0]], r"numbers has the shape \(2, 1\)"),
            ([1.0, math.nan], "numbers has nan at place 1; give finite numbers"),
            ([1.0, math.inf], "numbers has inf at place 1"),
            ([1.0], "an interval needs 2 or more"),
        ],
    )
    def test_numbers(self, numbers: list[float], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            bootstrap_mean(numbers)

    def test_a_single_group(self) -> None:
        with pytest.raises(ConfigError, match="an interval needs 2 or more"):
            bootstrap_mean([1.0, 2.0], groups=["a", "a"])

    def test_groups_of_another_length(self) -> None:
        with pytest.raises(ConfigError, match="groups has 1 entries for 2 images"):
            bootstrap_mean([1.0, 2.0], groups=["a"])

    @pytest.mark.parametrize("level", [0, 1, 95])
    def test_a_level_that_is_no_share(self, level: float) -> None:
        with pytest.raises(ConfigError, match=f"level is {level}; give a confidence between 0 and 1"):
            bootstrap_mean([1.0, 2.0], level=level)

    @pytest.mark.parametrize("test", [bootstrap_difference, sign_flip_test])
    def test_methods_on_other_images(self, test: type) -> None:
        with pytest.raises(ConfigError, match="ours has 2 numbers and theirs 3"):
            test([1.0, 2.0], [1.0, 2.0, 3.0])

    @pytest.mark.parametrize("test", [bootstrap_difference, sign_flip_test])
    def test_no_resamples(self, test: type) -> None:
        with pytest.raises(ConfigError, match="resamples is 0"):
            test([1.0, 2.0], [1.0, 3.0], resamples=0)


def test_the_examples_of_the_docstrings() -> None:
    assert doctest.testmod(intervals).failed == 0
