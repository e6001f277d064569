"""Planned runs and what they wrote become one long table, in which nothing is hidden."""

import json
from pathlib import Path

import pytest
from numclip_lightning.report.results import Results, shots_name

from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.runs.records import read_record
from support.benchmark_runs import make_plan, write_all, write_failure, write_run


class TestLongForm:
    def test_a_row_for_each_run_and_metric(self, tmp_path: Path) -> None:
        (planned,) = make_plan(["A"], shots=[4], seeds=[7])
        record = write_run(tmp_path, planned, {"test_mae": 1.5, "val_mae": 1.25}, protocol="paper")
        frame = Results([planned], [record]).long(["test_mae"])
        assert dict(zip(frame["metric"], frame["value"], strict=True)) == {
            "test_mae": 1.5,
            "val_mae": 1.25,
            "seconds": 17.0,
            "peak_memory_mib": 800.0,
            "trained_parameters": 1234.0,
        }
        shared = frame.drop(columns=["metric", "value"]).drop_duplicates()
        assert shared.to_dict("records") == [
            {
                "dataset": "counting", "method": "A", "fold": 0, "shots": 4, "seed": 7, "trains": True,
                "protocol": "paper", "status": "finished", "error": None, "commit": "abc1234",
            }
        ]  # fmt: skip

    def test_failed_and_missing_runs_have_rows_without_a_value(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], shots=[0])
        records = [
            write_run(tmp_path, plan[0], {"test_mae": 1.0}, peak_memory_mib=None),
            write_failure(tmp_path, plan[1], "ConfigError: no\n  such file"),
        ]
        frame = Results(plan, records).long(["test_mae", "test_acc"])
        rows = frame[frame["seed"] > 0][["seed", "status", "error", "metric", "value"]].astype(object)
        assert rows.where(rows.notna(), None).to_numpy().tolist() == [
            [1, "failed", "ConfigError: no such file", "test_mae", None],
            [1, "failed", "ConfigError: no such file", "test_acc", None],
            [2, "missing", None, "test_mae", None],
            [2, "missing", None, "test_acc", None],
        ]
        assert "peak_memory_mib" not in set(frame["metric"])


class TestCells:
    def test_columns_ascend_and_all_images_stand_last(self) -> None:
        plan = make_plan(["A", "Z"], shots=[0, 16, 1, 4], learn_nothing=["Z"])
        assert Results(plan, [_stub(plan[0])]).columns("counting") == [1, 4, 16, 0]
        assert [shots_name(number) for number in (1, 4, 16, 0)] == ["1 shot", "4 shots", "16 shots", "all images"]

    def test_all_images_are_no_column_for_what_learns_nothing(self) -> None:
        plan = make_plan(["Z", "A"], shots=[4], learn_nothing=["Z"])
        assert Results(plan, [_stub(plan[0])]).columns("counting") == [4]
        plan = make_plan(["Z"], learn_nothing=["Z"])
        assert Results(plan, [_stub(plan[0])]).columns("counting") == [0]

    def test_what_learns_nothing_stands_at_any_shots(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "Z"], shots=[4, 0], seeds=[3], learn_nothing=["Z"])
        results = Results(plan, write_all(tmp_path, plan, lambda run: {"test_mae": float(run["shots"])}))
        assert results.numbers("counting", "Z", 4, "test_mae") == {(0, 3): 0.0}
        assert results.numbers("counting", "A", 4, "test_mae") == {(0, 3): 4.0}

    def test_datasets_and_methods_keep_the_order_of_the_plan(self) -> None:
        plan = make_plan(["Z", "B", "A"], datasets=["faces", "counting"])
        results = Results(plan, [_stub(plan[0])])
        assert (results.datasets, results.methods("counting")) == (["faces", "counting"], ["Z", "B", "A"])

    def test_numbers_that_are_none_are_left_out(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], shots=[0])
        numbers = [1.0, float("nan"), float("inf")]
        results = Results(plan, write_all(tmp_path, plan, lambda run: {"test_mae": numbers[run["seed"]]}))
        assert results.numbers("counting", "A", 0, "test_mae") == {(0, 0): 1.0}


class TestMeans:
    def test_a_mean_has_the_runs_that_all_its_datasets_have(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], datasets=["one", "two", "three"], shots=[0], seeds=[0, 1])
        numbers = {"one": 1.0, "two": 2.0, "three": 9.0}
        runs = [run for run in plan if (run["dataset"], run["seed"]) != ("two", 1)]
        records = write_all(tmp_path, runs, lambda run: {"test_mae": numbers[run["dataset"]] + run["seed"]})
        results = Results(plan, records, {"both": ["one", "two"]})
        assert results.numbers("both", "A", 0, "test_mae") == {(0, 0): 1.5}
        assert [run.status for run in results.cell("both", "A", 0)] == ["finished", "missing"]
        assert results.numbers("both", "A", 0, "seconds") == {}
        assert results.datasets == ["one", "two", "three"]
        assert set(results.long(["test_mae"])["dataset"]) == {"one", "two", "three"}, "it is no run"

    def test_a_metric_that_one_lacks_and_a_number_that_is_none_have_no_mean(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], datasets=["one", "two"], shots=[0], seeds=[0])
        metrics = {
            "one": {"test_mae": 1.0, "test_acc": float("nan"), "test_qwk": 0.5},
            "two": {"test_mae": 2.0, "test_acc": 0.5},
        }
        records = write_all(tmp_path, plan, lambda run: metrics[run["dataset"]])
        results = Results(plan, records, {"both": ["one", "two"]})
        found = {name: results.numbers("both", "A", 0, name) for name in ("test_mae", "test_acc", "test_qwk")}
        assert found == {"test_mae": {(0, 0): 1.5}, "test_acc": {}, "test_qwk": {}}

    def test_one_selected_on_the_test_set_makes_the_mean_so(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], datasets=["one", "two"], shots=[0], seeds=[0])
        records = [write_run(tmp_path, run, {"test_mae": 1.0}, protocol="paper" if run["dataset"] == "two" else "clean")
                   for run in plan]  # fmt: skip
        results = Results(plan, records, {"both": ["one", "two"]})
        assert results.is_paper("both", "A", 0)
        assert not results.is_paper("one", "A", 0)


class TestBadInput:
    def test_no_records_and_no_plan(self) -> None:
        with pytest.raises(DataError, match=r"records is empty: .* run the benchmark first"):
            Results(make_plan(["A"]), [])
        with pytest.raises(DataError, match=r"planned is empty: .* name a method and a dataset"):
            Results([], [])

    def test_records_that_do_not_fit_the_plan(self) -> None:
        plan = make_plan(["A"], shots=[4, 0], seeds=[1])
        with pytest.raises(DataError, match="a record is there twice: counting, A, fold 0, 4 shots, seed 1"):
            Results(plan, [_stub(plan[0]), _stub(plan[0])])
        with pytest.raises(DataError, match="a planned run is there twice: counting, A, fold 0, all images, seed 1"):
            Results([plan[1], plan[1]], [_stub(plan[1])])
        with pytest.raises(DataError, match="wasn't planned: counting, A, fold 0, all images, seed 1; leave it out"):
            Results(plan[:1], [_stub(plan[1])])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"fold": None}, "a record has fold None; give a whole number of 0 or more"),
            ({"shots": -1}, "a record has shots -1; give a whole number"),
            ({"seed": 1.5}, "a record has seed 1.5; give a whole number"),
            ({"status": "running"}, "seed 0 has the status 'running'; it must be 'finished' or 'failed'"),
        ],
    )
    def test_records_with_a_bad_field(self, change: dict[str, object], message: str) -> None:
        plan = make_plan(["A"])
        with pytest.raises(DataError, match=message):
            Results(plan, [{**_stub(plan[0]), **change}])

    def test_records_that_lack_a_field(self) -> None:
        plan = make_plan(["A"])
        with pytest.raises(DataError, match="a record lacks method, seed; every run has dataset, method, fold"):
            Results(plan, [{"dataset": "counting", "fold": 0, "shots": 0}])
        with pytest.raises(ConfigError, match="seed 0 lacks folder; read it with read_record"):
            Results(plan, [{**plan[0], "status": "finished"}])

    @pytest.mark.parametrize("text", ["{", "[]", '{"status": "running"}', None])
    def test_a_result_file_that_is_none(self, tmp_path: Path, text: str | None) -> None:
        if text is not None:
            (tmp_path / "result.json").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=r"result\.json .*; delete .* and run the benchmark again"):
            read_record(tmp_path)

    def test_a_result_file_is_read_with_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "result.json").write_text(json.dumps({"status": "failed"}), encoding="utf-8")
        assert read_record(tmp_path) == {"status": "failed", "folder": tmp_path}


def _stub(planned: dict[str, object]) -> dict[str, object]:
    return {**planned, "status": "failed", "folder": "somewhere"}
