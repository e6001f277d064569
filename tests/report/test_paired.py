"""Paired tests against SciPy and slow definitions."""

import math
from pathlib import Path

import numpy as np
import pytest
from numclip_lightning.report.paired import Comparison, compare, holm
from numclip_lightning.report.results import Results
from scipy import stats

from support.benchmark_runs import Entry, make_plan, write_all


def slow_holm(p_values: list[float]) -> list[float]:
    """Holm's step-down procedure by its definition: the smallest level at which each hypothesis is rejected."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [1.0] * len(p_values)
    for place, index in enumerate(order):
        # Rejected at a level if it and all before it pass, each at the level divided by how many are left.
        needed = max(p_values[order[i]] * (len(p_values) - i) for i in range(place + 1))
        corrected[index] = min(1.0, needed)
    return corrected


def results_of(folder: Path, plan: list[Entry], numbers: dict[tuple[object, ...], float]) -> Results:
    def metrics(run: Entry) -> dict[str, float]:
        return {"test_mae": numbers[run["method"], run["shots"], run["fold"], run["seed"]]}

    planned = [run for run in plan if (run["method"], run["shots"], run["fold"], run["seed"]) in numbers]
    return Results(plan, write_all(folder, planned, metrics))


def drawn(plan: list[Entry]) -> dict[tuple[object, ...], float]:
    rng = np.random.default_rng(1)
    means = {"A": 3.0, "B": 3.3, "C": 8.0, "Z": 5.0, "Y": 4.0}
    return {
        (run["method"], run["shots"], run["fold"], run["seed"]): rng.normal(means[run["method"]], 0.3) for run in plan
    }


class TestHolm:
    def test_worked_by_hand(self) -> None:
        # 0.005 * 4; 0.01 * 3; 0.03 * 2; 0.04 * 1 lies below the one before it.
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_against_the_definition(self) -> None:
        rng = np.random.default_rng(0)
        for number in (0, 1, 2, 7, 38):
            p_values = [*(rng.random(number) ** 3).tolist(), *([0.2, 0.2] if number == 7 else [])]
            assert holm(p_values) == pytest.approx(slow_holm(p_values))


class TestCompare:
    def test_against_the_formulas(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B", "C"], folds=[0, 1], seeds=[0, 1, 2])
        numbers = drawn(plan)
        found = compare(results_of(tmp_path, plan, numbers), "counting", "test_mae", "A")
        assert [(one.method, one.shots) for one in found] == [("B", 4), ("B", 0), ("C", 4), ("C", 0)]
        slow_p = []
        for one in found:
            pairs = [(fold, seed) for fold in (0, 1) for seed in (0, 1, 2)]
            d = np.array([numbers[one.method, one.shots, *pair] - numbers["A", one.shots, *pair] for pair in pairs])
            error = d.std(ddof=1) / math.sqrt(len(d))
            half = stats.t.ppf(0.975, len(d) - 1) * error
            slow_p.append(2 * stats.t.sf(abs(d.mean() / error), len(d) - 1))
            assert one.n == 6
            assert (one.difference, one.low, one.high) == pytest.approx((d.mean(), d.mean() - half, d.mean() + half))
        assert [one.p for one in found] == pytest.approx(slow_p)
        assert [one.corrected for one in found] == pytest.approx(slow_holm(slow_p))
        assert found[2].verdict(lower_is_better=True) == "worse"
        assert found[2].verdict(lower_is_better=False) == "better"

    def test_only_runs_that_both_have_are_paired(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B"], shots=[0], seeds=range(5))
        numbers = drawn(plan)
        del numbers["A", 0, 0, 1], numbers["B", 0, 0, 3]
        (one,) = compare(results_of(tmp_path, plan, numbers), "counting", "test_mae", "A")
        ours, theirs = ([numbers[name, 0, 0, seed] for seed in (0, 2, 4)] for name in "BA")
        assert one.n == 3
        assert one.p == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)

    def test_what_was_selected_on_the_test_set_is_paired_with_its_like_alone(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B", "C"], shots=[0])
        numbers = drawn(plan)

        def found(folder: Path, paper: str) -> dict[str, int]:
            records = [
                record
                for run in plan
                for record in write_all(
                    folder,
                    [run],
                    lambda run: {"test_mae": numbers[run["method"], 0, 0, run["seed"]]},
                    protocol="paper" if run["method"] in paper else "clean",
                )
            ]
            return {one.method: one.n for one in compare(Results(plan, records), "counting", "test_mae", "A")}

        assert found(tmp_path / "one", "B") == {"B": 0, "C": 3}
        assert found(tmp_path / "two", "AB") == {"B": 3, "C": 0}
        assert found(tmp_path / "all", "ABC") == {"B": 3, "C": 3}

    def test_what_learns_nothing_is_paired_at_any_shots(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "Z"], learn_nothing=["Z"])
        numbers = drawn(plan)
        found = compare(results_of(tmp_path, plan, numbers), "counting", "test_mae", "A")
        assert [(one.method, one.shots, one.n) for one in found] == [("Z", 4, 3), ("Z", 0, 3)]
        for one in found:
            ours, theirs = [numbers["Z", 0, 0, s] for s in range(3)], [numbers["A", one.shots, 0, s] for s in range(3)]
            assert one.difference == pytest.approx(np.mean(ours) - np.mean(theirs))

    def test_two_that_learn_nothing_are_compared_once(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "Z", "Y"], learn_nothing=["Z", "Y"])
        found = compare(results_of(tmp_path, plan, drawn(plan)), "counting", "test_mae", "Z")
        assert [(one.method, one.shots) for one in found] == [("A", 4), ("A", 0), ("Y", None)]

    def test_below_two_pairs_there_is_no_number(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B"], shots=[0], seeds=[0])
        (one,) = compare(results_of(tmp_path, plan, drawn(plan)), "counting", "test_mae", "A")
        assert one == Comparison("B", 0, 1)
        assert one.verdict(lower_is_better=True) == "fewer than 2 pairs: no test"

    @pytest.mark.parametrize(
        ("shift", "says"), [(0.0, "equal in every pair"), (0.5, "the same difference in every pair: no test")]
    )
    def test_differences_without_spread_are_not_tested(self, tmp_path: Path, shift: float, says: str) -> None:
        plan = make_plan(["A", "B"], shots=[0])
        numbers: dict[tuple[object, ...], float] = {
            (run["method"], 0, 0, run["seed"]): 0.1 * run["seed"] + 1 + (shift if run["method"] == "B" else 0.0)
            for run in plan
        }
        (one,) = compare(results_of(tmp_path, plan, numbers), "counting", "test_mae", "A")
        assert one.difference == pytest.approx(shift)
        assert (one.p, one.corrected, one.verdict(lower_is_better=True)) == (None, None, says)

    def test_three_seeds_with_much_spread_show_nothing(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B"], shots=[0])
        (one,) = compare(results_of(tmp_path, plan, drawn(plan)), "counting", "test_mae", "A")
        assert one.corrected is not None
        assert one.corrected > 0.05
        assert one.verdict(lower_is_better=True) == "no difference shown"
