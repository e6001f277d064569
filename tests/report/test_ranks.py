"""Tests over data sets against SciPy, published tables and slow loops."""

import doctest
import math

import numpy as np
import pytest
from scipy import stats

from numclip_lightning.errors import ConfigError
from numclip_lightning.report import ranks
from numclip_lightning.report.ranks import compare_ranks, critical_difference, undecided, wilcoxon_test


class TestWilcoxon:
    @pytest.mark.parametrize("size", [6, 12, 60])
    def test_equals_scipy(self, size: int) -> None:
        random = np.random.default_rng(size)
        ours, theirs = random.normal(0.3, 1, size), random.normal(0, 1, size)
        assert wilcoxon_test(ours, theirs) == pytest.approx(stats.wilcoxon(ours, theirs).pvalue)

    @pytest.mark.filterwarnings("ignore:Sample size too small")
    def test_differences_of_zero_are_left_out(self) -> None:
        ours, theirs = [1.0, 2.0, 3.0, 4.0, 5.5, 6.0, 8.0], [1.0, 1.9, 2.8, 4.3, 5.0, 5.4, 7.3]
        assert wilcoxon_test(ours, theirs) == pytest.approx(stats.wilcoxon(ours, theirs).pvalue)

    def test_exact_by_a_slow_loop(self) -> None:
        differences = [1.5, -0.5, 2.0, 3.5, 0.7, -0.2, 4.0]
        order = stats.rankdata(np.abs(differences))
        observed = sum(rank for rank, number in zip(order, differences, strict=True) if number < 0)
        sums = [sum(r for k, r in enumerate(order) if signs >> k & 1) for signs in range(2**7)]
        expected = min(1, 2 * np.mean(np.array(sums) <= observed))
        assert wilcoxon_test(differences, np.zeros(7)) == pytest.approx(expected)

    def test_equal_everywhere(self) -> None:
        assert wilcoxon_test([1.0, 2.0], [1.0, 2.0]) == 1

    def test_other_lengths_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="give one number for each data set"):
            wilcoxon_test([1.0, 2.0], [1.0])


class TestFriedman:
    @pytest.mark.parametrize("lower_is_better", [True, False])
    @pytest.mark.parametrize("ties", [False, True])
    def test_equals_scipy(self, lower_is_better: bool, ties: bool) -> None:
        results = np.random.default_rng(0).normal([0, 0.2, 0.5, 2], 1, (12, 4))
        results = results.round() if ties else results
        found = compare_ranks(results, lower_is_better=lower_is_better)
        expected = stats.friedmanchisquare(*results.T)
        assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))
        signed = results if lower_is_better else -results
        slow = [[(row < x).sum() + ((row == x).sum() + 1) / 2 for x in row] for row in signed]
        assert found.ranks == pytest.approx(np.mean(slow, axis=0))
        assert found.datasets == 12

    def test_without_ties_it_is_the_formula_of_the_textbooks(self) -> None:
        results = np.random.default_rng(1).normal([0, 0.2, 0.5, 2], 1, (9, 4))
        found = compare_ranks(results, lower_is_better=True)
        squares = sum(rank**2 for rank in found.ranks)
        assert found.statistic == pytest.approx(12 * 9 / (4 * 5) * (squares - 4 * 5**2 / 4))
        assert found.p == pytest.approx(stats.chi2.sf(found.statistic, 3))

    def test_all_tied(self) -> None:
        found = compare_ranks(np.ones((4, 3)), lower_is_better=True)
        assert (found.ranks, found.statistic, found.p) == ((2, 2, 2), 0, 1)

    @pytest.mark.parametrize("shape", [(1, 3), (5, 2), (6,)])
    def test_too_few_to_compare(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ConfigError, match="give a row for each of 2 data sets or more"):
            compare_ranks(np.ones(shape), lower_is_better=True)

    def test_a_missing_result(self) -> None:
        with pytest.raises(ConfigError, match="leave out what is incomplete"):
            compare_ranks([[1.0, 2.0, math.nan], [1.0, 2.0, 3.0]], lower_is_better=True)


class TestCriticalDifference:
    # Demsar 2006, table 5 (a): q at 0.05 and at 0.10 for 2 to 10 methods.
    @pytest.mark.parametrize(
        ("level", "table"),
        [
            (0.05, [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]),
            (0.10, [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920]),
        ],
    )
    def test_the_published_quantiles(self, level: float, table: list[float]) -> None:
        found = [critical_difference(k, 10, level=level) / math.sqrt(k * (k + 1) / 60) for k in range(2, 11)]
        assert found == pytest.approx(table, abs=1.1e-3)

    def test_the_published_example(self) -> None:
        # Demsar 2006, section 3.2.3: four methods on 14 data sets.
        assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.01)
        assert critical_difference(4, 14, level=0.1) == pytest.approx(1.12, abs=0.01)

    @pytest.mark.parametrize(("methods", "datasets", "level"), [(1, 5, 0.05), (3, 0, 0.05), (3, 5, 0.0), (3, 5, 5)])
    def test_arguments_out_of_range(self, methods: int, datasets: int, level: float) -> None:
        with pytest.raises(ConfigError, match="give 2 methods or more"):
            critical_difference(methods, datasets, level=level)


class TestUndecided:
    def test_against_a_slow_loop(self) -> None:
        random = np.random.default_rng(0)
        for _ in range(50):
            mean, difference = random.uniform(1, 6, 6), random.uniform(0.2, 3)
            alike = []
            for first in mean:
                inside = frozenset(np.flatnonzero((mean >= first) & (mean - first < difference)).tolist())
                alike.append(inside)
            largest = {one for one in alike if len(one) > 1 and not any(one < other for other in alike)}
            assert {frozenset(one) for one in undecided(mean, difference)} == largest

    def test_all_told_apart(self) -> None:
        assert undecided([1.0, 2.0, 3.0], 0.5) == []

    def test_equal_ranks(self) -> None:
        assert undecided([2.0, 2.0], 0.5) == [(0, 1)]


def test_the_examples_of_the_docstrings() -> None:
    assert doctest.testmod(ranks).failed == 0
