"""Means, ranks, costs and paired tests against NumPy, SciPy and slow definitions."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from numclip_lightning.errors import ConfigError
from numclip_lightning.report.frame import results_frame
from numclip_lightning.report.statistics import compare, costs, holm, summarise
from support.benchmark_runs import Entry, make_plan, rows_of, write_failure, write_run

Numbers = dict[tuple[object, ...], float]


def table_of(
    folder: Path, numbers: dict[str, float], metric: str = "test_mae", selected_on_test: str = ""
) -> pd.DataFrame:
    """Return the table of one run of each method, with a number each."""
    plan = make_plan(list(numbers), shots=[0], seeds=[0])
    records = [
        write_run(folder, run, {metric: numbers[run["method"]]},
                  select_on="test" if run["method"] in selected_on_test else "val")
        for run in plan
    ]  # fmt: skip
    return summarise(results_frame(plan, records, [metric]), metric)


def ranks(cells: pd.DataFrame) -> list[int | None]:
    return [None if pd.isna(rank) else int(rank) for rank in cells["rank"]]


class TestCells:
    def test_mean_and_deviation_are_over_folds_and_seeds(self, tmp_path: Path) -> None:
        plan = make_plan(["B", "A"], folds=[0, 1], seeds=[0, 1, 2])
        numbers = drawn(plan)
        cells = summarise(rows_of(tmp_path, plan, "test_mae", lambda run: numbers[key(run)]), "test_mae")
        assert [*zip(cells["method"], cells["shots"], strict=True)] == [("B", 4), ("B", 0), ("A", 4), ("A", 0)]
        for cell in cells.itertuples():
            own = [numbers[key(run)] for run in plan if (run["method"], run["shots"]) == (cell.method, cell.shots)]
            assert cell.mean == pytest.approx(np.mean(own))
            assert cell.std == pytest.approx(np.std(own, ddof=1))
            assert (cell.n, cell.planned) == (6, 6)

    def test_one_run_has_no_deviation(self, tmp_path: Path) -> None:
        (cell,) = table_of(tmp_path, {"A": 2.0}).to_dict("records")
        assert (cell["mean"], cell["n"]) == (2.0, 1)
        assert math.isnan(cell["std"])

    def test_failed_and_missing_runs_and_those_without_a_number_are_counted(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], shots=[0], seeds=range(4))
        records = [
            write_run(tmp_path, plan[0], {"test_mae": 3.0}),
            write_failure(tmp_path, plan[1], "no"),
            write_run(tmp_path, plan[2], {"test_mae": float("nan")}),
        ]
        (cell,) = summarise(results_frame(plan, records, ["test_mae"]), "test_mae").to_dict("records")
        assert (cell["mean"], cell["n"], cell["planned"]) == (3.0, 1, 4)
        assert pd.isna(cell["std"])
        assert pd.isna(cell["rank"])

    def test_a_method_that_was_not_planned_at_some_shots(self, tmp_path: Path) -> None:
        plan = [*make_plan(["A"], seeds=[0]), *make_plan(["B"], shots=[4], seeds=[0])]
        cells = summarise(rows_of(tmp_path, plan, "test_mae", lambda _: 1.0), "test_mae")
        assert cells["planned"][cells["method"] == "B"].tolist() == [1, 0]

    def test_an_unknown_metric_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="metrics has 'test_loss'"):
            table_of(tmp_path, {"A": 1.0}, "test_loss")


class TestRanks:
    def test_lower_or_higher_is_better(self, tmp_path: Path) -> None:
        numbers = {"A": 0.3, "B": 0.1, "C": 0.2}
        assert ranks(table_of(tmp_path / "mae", numbers)) == [3, 1, 2]
        assert ranks(table_of(tmp_path / "acc", numbers, "test_acc")) == [1, 3, 2]

    def test_numbers_that_are_printed_alike_share_their_rank(self, tmp_path: Path) -> None:
        numbers = {"A": 1.001, "B": 0.999, "C": 2.0, "D": 2.001, "E": 3.0}
        assert ranks(table_of(tmp_path, numbers)) == [1, 1, 2, 2, 3]

    def test_an_incomplete_cell_is_not_ranked(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B"], shots=[0], seeds=[0, 1])
        numbers = {("A", 0): 1.0, ("B", 0): 2.0, ("B", 1): 2.0}
        rows = rows_of(tmp_path, plan, "test_mae", lambda run: numbers.get((run["method"], run["seed"])))
        assert ranks(summarise(rows, "test_mae")) == [None, 1]

    def test_results_selected_on_the_test_set_are_not_ranked_beside_others(self, tmp_path: Path) -> None:
        numbers = {"A": 1.0, "B": 2.0, "C": 3.0}
        mixed = table_of(tmp_path / "mixed", numbers, selected_on_test="A")
        assert ranks(mixed) == [None, 1, 2]
        assert mixed["selected_on_test"].tolist() == [True, False, False]
        assert ranks(table_of(tmp_path / "all", numbers, selected_on_test="ABC")) == [1, 2, 3]


def test_costs_are_means_over_finished_runs(tmp_path: Path) -> None:
    plan = make_plan(["A", "B", "C"], seeds=[0, 1])
    records = [
        write_run(tmp_path, run, {}, seconds=1000.0 * (run["seed"] + 1), peak_memory_mib=run["shots"] * 100.0,
                  trained_parameters=5000 + run["shots"])
        for run in plan
        if run["method"] != "C"
    ]  # fmt: skip
    records.append(write_failure(tmp_path, next(run for run in plan if run["method"] == "C"), "no"))
    found = costs(results_frame(plan, records, ["test_mae"])).set_index(["method", "shots"])
    assert found.loc[("A", 4)].tolist() == ["val", 2, 1500.0, 400.0, 5004.0]
    assert found.loc[("C", 4), "n"] == 0


def slow_holm(p_values: list[float]) -> list[float]:
    """Holm's step-down procedure by its definition: the smallest level at which each hypothesis is rejected."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [1.0] * len(p_values)
    for place, index in enumerate(order):
        # Rejected at a level if it and all before it pass, each at the level divided by how many are left.
        needed = max(p_values[order[i]] * (len(p_values) - i) for i in range(place + 1))
        corrected[index] = min(1.0, needed)
    return corrected


def key(run: Entry) -> tuple[object, ...]:
    return run["method"], run["shots"], run["fold"], run["seed"]


def drawn(plan: list[Entry]) -> Numbers:
    rng = np.random.default_rng(1)
    means = {"A": 3.0, "B": 3.3, "C": 8.0, "Z": 5.0, "Y": 4.0}
    return {key(run): rng.normal(means[run["method"]], 0.3) for run in plan}


def compared(folder: Path, plan: list[Entry], numbers: Numbers, reference: str = "A") -> pd.DataFrame:
    rows = rows_of(folder, plan, "test_mae", lambda run: numbers.get(key(run)))
    return compare(rows, "test_mae", reference)


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
        found = compared(tmp_path, plan, numbers)
        assert found[["method", "shots"]].to_numpy().tolist() == [["B", 4], ["B", 0], ["C", 4], ["C", 0]]
        slow_p = []
        for one in found.itertuples():
            pairs = [(fold, seed) for fold in (0, 1) for seed in (0, 1, 2)]
            d = np.array([numbers[one.method, one.shots, *pair] - numbers["A", one.shots, *pair] for pair in pairs])
            error = d.std(ddof=1) / math.sqrt(len(d))
            half = stats.t.ppf(0.975, len(d) - 1) * error
            slow_p.append(2 * stats.t.sf(abs(d.mean() / error), len(d) - 1))
            assert one.n == 6
            assert (one.difference, one.low, one.high) == pytest.approx((d.mean(), d.mean() - half, d.mean() + half))
        assert found["p"].tolist() == pytest.approx(slow_p)
        assert found["p_holm"].tolist() == pytest.approx(slow_holm(slow_p))

    @pytest.mark.parametrize(("metric", "verdict"), [("test_mae", "worse"), ("test_acc", "better")])
    def test_larger_numbers_are_worse_or_better_as_the_metric_has_it(
        self, tmp_path: Path, metric: str, verdict: str
    ) -> None:
        plan = make_plan(["A", "C"], shots=[0])
        numbers = drawn(plan)
        rows = rows_of(tmp_path, plan, metric, lambda run: numbers[key(run)])
        assert compare(rows, metric, "A")["verdict"].tolist() == [verdict]

    def test_only_runs_that_both_have_are_paired(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B"], shots=[0], seeds=range(5))
        numbers = drawn(plan)
        del numbers["A", 0, 0, 1], numbers["B", 0, 0, 3]
        (one,) = compared(tmp_path, plan, numbers).to_dict("records")
        ours, theirs = ([numbers[name, 0, 0, seed] for seed in (0, 2, 4)] for name in "BA")
        assert one["n"] == 3
        assert one["p"] == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)

    @pytest.mark.parametrize(
        ("selected_on_test", "pairs"), [("B", {"B": 0, "C": 3}), ("AB", {"B": 3, "C": 0}), ("ABC", {"B": 3, "C": 3})]
    )
    def test_results_selected_on_the_test_set_are_paired_only_with_each_other(
        self, tmp_path: Path, selected_on_test: str, pairs: dict[str, int]
    ) -> None:
        plan = make_plan(["A", "B", "C"], shots=[0])
        numbers = drawn(plan)
        records = [
            write_run(tmp_path, run, {"test_mae": numbers[key(run)]},
                      select_on="test" if run["method"] in selected_on_test else "val")
            for run in plan
        ]  # fmt: skip
        found = compare(results_frame(plan, records, ["test_mae"]), "test_mae", "A").set_index("method")
        assert found["n"].to_dict() == pairs
        assert found["select_on"].to_dict() == {m: "test" if m in selected_on_test else "val" for m in "BC"}

    def test_a_method_that_learns_nothing_is_paired_at_any_shots(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "Z"], learn_nothing=["Z"])
        numbers = drawn(plan)
        found = compared(tmp_path, plan, numbers)
        assert found[["method", "shots", "n"]].to_numpy().tolist() == [["Z", 4, 3], ["Z", 0, 3]]
        for one in found.itertuples():
            ours, theirs = [numbers["Z", 0, 0, s] for s in range(3)], [numbers["A", one.shots, 0, s] for s in range(3)]
            assert one.difference == pytest.approx(np.mean(ours) - np.mean(theirs))

    def test_two_methods_that_learn_nothing_are_compared_once(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "Z", "Y"], learn_nothing=["Z", "Y"])
        found = compared(tmp_path, plan, drawn(plan), "Z").set_index("method")["shots"]
        assert found["A"].tolist() == [4, 0]
        assert pd.isna(found["Y"])

    def test_fewer_than_two_pairs_have_no_number(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B"], shots=[0], seeds=[0])
        (one,) = compared(tmp_path, plan, drawn(plan)).to_dict("records")
        assert (one["n"], one["verdict"]) == (1, "fewer than 2 pairs: no test")
        assert all(pd.isna(one[name]) for name in ("difference", "low", "high", "p", "p_holm"))

    @pytest.mark.parametrize(
        ("shift", "verdict"), [(0.0, "equal in every pair"), (0.5, "the same difference in every pair: no test")]
    )
    def test_differences_without_spread_are_not_tested(self, tmp_path: Path, shift: float, verdict: str) -> None:
        plan = make_plan(["A", "B"], shots=[0])
        numbers = {key(run): 0.1 * run["seed"] + 1 + (shift if run["method"] == "B" else 0.0) for run in plan}
        (one,) = compared(tmp_path, plan, numbers).to_dict("records")
        assert one["difference"] == pytest.approx(shift)
        assert pd.isna(one["p"])
        assert pd.isna(one["p_holm"])
        assert one["verdict"] == verdict

    def test_three_seeds_with_much_spread_show_no_difference(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B"], shots=[0])
        (one,) = compared(tmp_path, plan, drawn(plan)).to_dict("records")
        assert one["p_holm"] > 0.05
        assert one["verdict"] == "no difference shown"
