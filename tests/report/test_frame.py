"""Planned runs and their records become one long frame, in which nothing is hidden."""

import json
from pathlib import Path

import pytest

from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.report.frame import (
    COLUMNS,
    at_every_shots,
    mean_rows,
    results_frame,
    shots_name,
    shots_of,
)
from numclip_lightning.runs.records import read_record
from support.benchmark_runs import make_plan, rows_of, write_all, write_failure, write_run


class TestLongForm:
    def test_a_row_for_each_run_and_metric(self, tmp_path: Path) -> None:
        (planned,) = make_plan(["A"], shots=[4], seeds=[7])
        record = write_run(tmp_path, planned, {"test_mae": 1.5, "val_mae": 1.25}, select_on="test")
        frame = results_frame([planned], [record], ["test_mae"])[COLUMNS]
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
                "select_on": "test", "status": "finished", "error": None, "commit": "abc1234",
            }
        ]  # fmt: skip

    def test_failed_and_missing_runs_have_rows_without_a_value(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], shots=[0])
        records = [
            write_run(tmp_path, plan[0], {"test_mae": 1.0}, peak_memory_mib=None),
            write_failure(tmp_path, plan[1], "ConfigError: no\n  such file"),
        ]
        frame = results_frame(plan, records, ["test_mae", "test_acc"])
        rows = frame[frame["seed"] > 0][["seed", "status", "error", "metric", "value"]].astype(object)
        assert rows.where(rows.notna(), None).to_numpy().tolist() == [
            [1, "failed", "ConfigError: no such file", "test_mae", None],
            [1, "failed", "ConfigError: no such file", "test_acc", None],
            [2, "missing", None, "test_mae", None],
            [2, "missing", None, "test_acc", None],
        ]
        assert "peak_memory_mib" not in set(frame["metric"])


class TestShots:
    def test_numbers_ascend_and_all_images_come_last(self) -> None:
        plan = make_plan(["A", "Z"], shots=[0, 16, 1, 4], learn_nothing=["Z"])
        assert shots_of(results_frame(plan, [_stub(plan[0])], ["test_mae"])) == [1, 4, 16, 0]
        assert [shots_name(number) for number in (1, 4, 16, 0)] == ["1 shot", "4 shots", "16 shots", "all images"]

    def test_all_images_are_no_number_of_shots_if_only_untrained_methods_use_them(self) -> None:
        plan = make_plan(["Z", "A"], shots=[4], learn_nothing=["Z"])
        assert shots_of(results_frame(plan, [_stub(plan[0])], ["test_mae"])) == [4]
        plan = make_plan(["Z"], learn_nothing=["Z"])
        assert shots_of(results_frame(plan, [_stub(plan[0])], ["test_mae"])) == [0]

    def test_a_method_that_learns_nothing_is_repeated_at_every_number_of_shots(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "Z"], shots=[4, 0], seeds=[3], learn_nothing=["Z"])
        rows = at_every_shots(rows_of(tmp_path, plan, "test_mae", lambda run: float(run["shots"])))
        numbers = rows[rows["metric"] == "test_mae"].set_index(["method", "shots"])["value"].to_dict()
        assert numbers == {("A", 4): 4.0, ("A", 0): 0.0, ("Z", 4): 0.0, ("Z", 0): 0.0}

    def test_methods_keep_the_order_of_the_plan(self) -> None:
        plan = make_plan(["Z", "B", "A"])
        rows = at_every_shots(results_frame(plan, [_stub(plan[0])], ["test_mae"]))
        assert list(rows["method"].cat.categories) == ["Z", "B", "A"]

    def test_numbers_that_are_not_finite_are_missing(self, tmp_path: Path) -> None:
        numbers = [1.0, float("nan"), float("inf")]
        rows = rows_of(tmp_path, make_plan(["A"], shots=[0]), "test_mae", lambda run: numbers[run["seed"]])
        assert at_every_shots(rows)["value"][rows["metric"] == "test_mae"].dropna().tolist() == [1.0]


class TestMeans:
    def test_a_mean_has_the_runs_that_all_its_datasets_have(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], datasets=["one", "two", "three"], shots=[0], seeds=[0, 1])
        numbers = {"one": 1.0, "two": 2.0, "three": 9.0}
        missing = ("two", 1)
        frame = rows_of(tmp_path, plan, "test_mae", lambda run: (
            None if (run["dataset"], run["seed"]) == missing else numbers[run["dataset"]] + run["seed"]))  # fmt: skip
        means = mean_rows(frame, "both", ["one", "two"])
        assert means[["dataset", "seed", "status", "metric"]].to_numpy().tolist() == [
            ["both", 0, "finished", "test_mae"],
            ["both", 1, "missing", "test_mae"],
        ]
        assert means["value"].tolist() == pytest.approx([1.5, float("nan")], nan_ok=True)

    def test_a_metric_that_one_dataset_lacks_or_that_is_no_number_has_no_mean(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], datasets=["one", "two"], shots=[0], seeds=[0])
        metrics = {
            "one": {"test_mae": 1.0, "test_acc": float("nan"), "test_qwk": 0.5},
            "two": {"test_mae": 2.0, "test_acc": 0.5},
        }
        records = write_all(tmp_path, plan, lambda run: metrics[run["dataset"]])
        means = mean_rows(results_frame(plan, records, ["test_mae", "test_qwk"]), "both", ["one", "two"])
        found = means.set_index("metric")
        assert found["value"].dropna().to_dict() == {"test_mae": 1.5}
        assert found["recorded"].to_dict() == {"test_mae": True, "test_qwk": False, "test_acc": True}

    def test_a_mean_with_a_run_selected_on_the_test_set_is_marked_so(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], datasets=["one", "two", "three"], shots=[0], seeds=[0])
        records = [write_run(tmp_path, run, {"test_mae": 1.0}, select_on="test" if run["dataset"] == "two" else "val")
                   for run in plan]  # fmt: skip
        frame = results_frame(plan, records, ["test_mae"])
        assert mean_rows(frame, "both", ["one", "two"])["select_on"].tolist() == ["test"]
        assert mean_rows(frame, "others", ["one", "three"])["select_on"].tolist() == ["val"]


class TestBadInput:
    def test_no_records_and_no_plan(self) -> None:
        with pytest.raises(DataError, match=r"records is empty: .* run the benchmark first"):
            results_frame(make_plan(["A"]), [], ["test_mae"])
        with pytest.raises(DataError, match=r"planned is empty: .* name a method and a dataset"):
            results_frame([], [], ["test_mae"])

    def test_records_that_do_not_fit_the_plan(self) -> None:
        plan = make_plan(["A"], shots=[4, 0], seeds=[1])
        with pytest.raises(DataError, match="a record is there twice: counting, A, fold 0, 4 shots, seed 1"):
            results_frame(plan, [_stub(plan[0]), _stub(plan[0])], ["test_mae"])
        with pytest.raises(DataError, match="a planned run is there twice: counting, A, fold 0, all images, seed 1"):
            results_frame([plan[1], plan[1]], [_stub(plan[1])], ["test_mae"])
        with pytest.raises(DataError, match="wasn't planned: counting, A, fold 0, all images, seed 1; leave it out"):
            results_frame(plan[:1], [_stub(plan[1])], ["test_mae"])

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
            results_frame(plan, [{**_stub(plan[0]), **change}], ["test_mae"])

    def test_records_that_lack_a_field(self) -> None:
        plan = make_plan(["A"])
        with pytest.raises(DataError, match="a record lacks method, seed; every run has dataset, method, fold"):
            results_frame(plan, [{"dataset": "counting", "fold": 0, "shots": 0}], ["test_mae"])
        with pytest.raises(ConfigError, match="seed 0 lacks folder; read it with read_record"):
            results_frame(plan, [{**plan[0], "status": "finished"}], ["test_mae"])

    @pytest.mark.parametrize("text", ["{", "[]", '{"status": "running"}', None])
    def test_a_result_file_that_is_none(self, tmp_path: Path, text: str | None) -> None:
        if text is not None:
            (tmp_path / "result.json").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=r"result\.json .*; delete .* and run the benchmark again"):
            read_record(tmp_path)

    def test_a_result_file_is_read_with_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "result.json").write_text(json.dumps({"status": "failed"}), encoding="utf-8")
        assert read_record(tmp_path) == {"status": "failed", "folder": tmp_path}


@pytest.mark.parametrize(("protocol", "select_on"), [("clean", "val"), ("paper", "test")])
def test_a_record_from_before_the_renaming_is_read(tmp_path: Path, protocol: str, select_on: str) -> None:
    text = json.dumps({"status": "finished", "protocol": protocol})
    (tmp_path / "result.json").write_text(text, encoding="utf-8")
    assert read_record(tmp_path) == {"status": "finished", "select_on": select_on, "folder": tmp_path}


def _stub(planned: dict[str, object]) -> dict[str, object]:
    return {**planned, "status": "failed", "folder": "somewhere"}
