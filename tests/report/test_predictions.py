"""Errors by target against a slow count, from the predictions of runs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from numclip_lightning.errors import DataError
from numclip_lightning.report.files import metric_of
from numclip_lightning.report.frame import results_frame
from numclip_lightning.report.predictions import errors_by_value, read_predictions
from support.benchmark_runs import make_plan, write_failure, write_run


def slow_errors(pairs: list[tuple[float, float]], low: float, high: float, last: bool) -> list[float]:
    return [
        abs(value - target)
        for target, value in pairs
        if low == target or low < target < high or (last and target == high)
    ]


class TestErrorsByValue:
    @pytest.mark.parametrize("largest", [5, 60])
    def test_against_a_slow_count(self, tmp_path: Path, largest: int) -> None:
        rng = np.random.default_rng(0)
        plan = make_plan(["B", "A"], shots=[0], folds=[0, 1], seeds=[0, 1])
        pairs: dict[str, list[tuple[float, float]]] = {"A": [], "B": []}
        records = []
        for run in plan:
            rows = [(float(t), float(t + rng.normal())) for t in [1, largest, *rng.integers(1, largest + 1, 50)]]
            pairs[run["method"]] += rows
            records.append(write_run(tmp_path, run, {}, rows))
        frame = errors_by_value(results_frame(plan, records, ["test_mae"]), 0)
        assert list(dict.fromkeys(frame["method"])) == ["B", "A"]
        for method, bins in frame.groupby("method"):
            # Every image is in one bin; four runs each.
            assert bins["images"].sum() == 52
            for row in bins.itertuples():
                own = slow_errors(pairs[str(method)], row.low, row.high, last=row.high == bins["high"].max())
                assert (row.images, row.mae) == (len(own) / 4, pytest.approx(np.mean(own)))
        edges = sorted({*frame["low"], *frame["high"]})
        assert edges == ([1, 2, 3, 4, 5] if largest == 5 else [float(edge) for edge in range(0, 61, 5)])

    def test_only_the_runs_at_these_shots_that_finished(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B"], shots=[4, 0], seeds=[0])
        records = [
            write_run(tmp_path, plan[0], {}, [(1.0, 9.0)]),
            write_run(tmp_path, plan[1], {}, [(1.0, 3.0)]),
            write_failure(tmp_path, plan[3], "no"),
        ]
        rows = results_frame(plan, records, ["test_mae"])
        assert errors_by_value(rows, 0).to_numpy().tolist() == [["A", "val", 1.0, 1.0, 1.0, 2.0]]
        assert errors_by_value(results_frame(plan, records[2:], ["test_mae"]), 4).empty

    def test_a_prediction_that_is_no_number_is_not_hidden(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], shots=[0], seeds=[0])
        record = write_run(tmp_path, plan[0], {}, [(1.0, 1.5), (1.0, float("nan"))])
        assert np.isnan(errors_by_value(results_frame(plan, [record], ["test_mae"]), 0)["mae"]).all()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (None, "can't be read .*; delete .* and run the benchmark again"),
            ("path,target\na.png,1\n", "can't be read"),
            ("path,target,value\na.png,many,1\n", "can't be read"),
            ("path,target,value\n", "has no rows, or a target that is no number; delete"),
            ("path,target,value\na.png,,1\n", "has no rows, or a target that is no number"),
        ],
    )
    def test_predictions_that_can_not_be_used(self, tmp_path: Path, text: str | None, message: str) -> None:
        plan = make_plan(["A"], shots=[0], seeds=[0])
        record = write_run(tmp_path, plan[0], {})
        path = record["folder"] / "test_predictions.csv"
        path.unlink()
        if text is not None:
            path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=f"predictions of counting, A, fold 0, all images, seed 0, {message}"):
            errors_by_value(results_frame(plan, [record], ["test_mae"]), 0)


def test_files_of_earlier_versions_read_as_new_ones(tmp_path: Path) -> None:
    (run,) = make_plan(["A"], shots=[0], seeds=[0])
    record = write_run(tmp_path, run, {})
    file = record["folder"] / "test_predictions.csv"
    rows = "a.png,1,few,2,some,0.4,0.6\nb.png,5,some,5,some,0.1,0.9\n"
    frames = []
    for heading in ("path,target,true_level,value,level", "path,target,true_phrase,value,most_probable"):
        file.write_text(f"{heading},p(few),p(some)\n{rows}", encoding="utf-8")
        frames.append(read_predictions(record))
    assert frames[0].equals(frames[1])
    assert metric_of("test_acc", frames[0]) == 0.5


def test_levels_without_the_true_phrases_are_refused() -> None:
    frame = pd.DataFrame({"path": ["a.png"], "target": [1.0], "value": [2.0], "p(few)": [1.0]})
    with pytest.raises(DataError, match="no column 'true_phrase'"):
        metric_of("test_acc", frame)
