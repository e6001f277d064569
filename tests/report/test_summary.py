"""Cells of a table against NumPy; marks go to what is printed, and only to what can be compared."""

from pathlib import Path

import numpy as np
import pytest
from numclip_lightning.report.results import Results
from numclip_lightning.report.summary import Table, summarise

from numclip_lightning.errors import ConfigError
from support.benchmark_runs import Entry, make_plan, write_all, write_failure, write_run


def table_of(folder: Path, numbers: dict[str, float], metric: str = "test_mae", **other: dict[str, str]) -> Table:
    """One run of each method, with a number each; `protocol` may be given by method."""
    plan = make_plan(list(numbers), shots=[0], seeds=[0])
    protocols = other.get("protocol", {})
    records = [
        write_run(folder, run, {metric: numbers[run["method"]]}, protocol=protocols.get(run["method"], "clean"))
        for run in plan
    ]
    return summarise(Results(plan, records), "counting", metric)


def ranks(table: Table) -> list[int | None]:
    return [cells[0].rank for cells in table.rows.values()]


class TestCells:
    def test_mean_and_deviation_are_over_folds_and_seeds(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B"], folds=[0, 1], seeds=[0, 1, 2])
        rng = np.random.default_rng(0)
        numbers = {id(run): rng.normal(5, 2) for run in plan}
        results = Results(plan, write_all(tmp_path, plan, lambda run: {"test_mae": numbers[id(run)]}))
        table = summarise(results, "counting", "test_mae")
        assert (table.shots, list(table.rows), table.folds, table.seeds) == ([4, 0], ["A", "B"], 2, 3)
        for method, cells in table.rows.items():
            for shots, cell in zip(table.shots, cells, strict=True):
                own = [numbers[id(run)] for run in plan if (run["method"], run["shots"]) == (method, shots)]
                assert cell.mean == pytest.approx(np.mean(own))
                assert cell.std == pytest.approx(np.std(own, ddof=1))
                assert (cell.n, cell.planned, cell.is_complete) == (6, 6, True)

    def test_one_run_has_no_deviation(self, tmp_path: Path) -> None:
        (cell,) = table_of(tmp_path, {"A": 2.0}).rows["A"]
        assert (cell.mean, cell.std, cell.n) == (2.0, None, 1)

    def test_failed_missing_and_endless_runs_are_counted(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], shots=[0], seeds=range(4))
        records = [
            write_run(tmp_path, plan[0], {"test_mae": 3.0}),
            write_failure(tmp_path, plan[1], "no"),
            write_run(tmp_path, plan[2], {"test_mae": float("nan")}),
        ]
        (cell,) = summarise(Results(plan, records), "counting", "test_mae").rows["A"]
        assert (cell.mean, cell.std, cell.n, cell.planned, cell.rank) == (3.0, None, 1, 4, None)

    def test_a_method_that_was_not_planned_at_some_shots(self, tmp_path: Path) -> None:
        plan: list[Entry] = [*make_plan(["A"], seeds=[0]), *make_plan(["B"], shots=[4], seeds=[0])]
        results = Results(plan, write_all(tmp_path, plan, lambda _: {"test_mae": 1.0}))
        assert [cell.planned for cell in summarise(results, "counting", "test_mae").rows["B"]] == [1, 0]


class TestRanks:
    def test_lower_or_higher_is_better(self, tmp_path: Path) -> None:
        numbers = {"A": 0.3, "B": 0.1, "C": 0.2}
        assert ranks(table_of(tmp_path / "mae", numbers)) == [3, 1, 2]
        assert ranks(table_of(tmp_path / "acc", numbers, "test_acc")) == [1, 3, 2]

    def test_what_is_printed_alike_shares_its_rank(self, tmp_path: Path) -> None:
        numbers = {"A": 1.001, "B": 0.999, "C": 2.0, "D": 2.001, "E": 3.0}
        assert ranks(table_of(tmp_path, numbers)) == [1, 1, 2, 2, 3]

    def test_an_incomplete_cell_is_not_ranked(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B"], shots=[0], seeds=[0, 1])
        numbers = {"A": 1.0, "B": 2.0}
        records = write_all(tmp_path, [run for run in plan if (run["method"], run["seed"]) != ("A", 1)],
                            lambda run: {"test_mae": numbers[run["method"]]})  # fmt: skip
        assert ranks(summarise(Results(plan, records), "counting", "test_mae")) == [None, 1]

    def test_selected_on_the_test_set_is_not_ranked_beside_what_is_not(self, tmp_path: Path) -> None:
        numbers = {"A": 1.0, "B": 2.0, "C": 3.0}
        mixed = table_of(tmp_path / "mixed", numbers, protocol={"A": "paper"})
        assert ranks(mixed) == [None, 1, 2]
        assert [cells[0].paper for cells in mixed.rows.values()] == [True, False, False]
        assert ranks(table_of(tmp_path / "paper", numbers, protocol=dict.fromkeys("ABC", "paper"))) == [1, 2, 3]


def test_an_unknown_metric_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="metrics has 'test_loss'"):
        table_of(tmp_path, {"A": 1.0}, "test_loss")
