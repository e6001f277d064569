"""Pictures hold the numbers they were given, and errors by value are those of a slow count."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numclip_lightning.report.results import Results
from numclip_lightning.report.summary import summarise

from numclip_lightning.errors import DataError
from numclip_lightning.report.figures import draw_curves, draw_errors, save_curves, save_errors
from numclip_lightning.report.predictions import errors_by_value
from support.benchmark_runs import Entry, make_plan, write_all, write_failure, write_run

COLUMNS = ["method", "protocol", "low", "high", "images", "mae"]


@pytest.fixture
def axes() -> Axes:
    return Figure().subplots()


def accuracy(run: Entry) -> dict[str, float]:
    return {"test_acc": 0.5 + 0.1 * (run["shots"] == 0) + 0.02 * run["seed"]}


class TestCurves:
    def test_a_line_for_each_method_and_a_band(self, axes: Axes, tmp_path: Path) -> None:
        plan = make_plan(["A", "Z", "C"], shots=[0, 1, 4], seeds=[0, 1], learn_nothing=["Z"])
        records = write_all(tmp_path, [run for run in plan if run["method"] != "C"], accuracy)
        draw_curves(axes, summarise(Results(plan, records), "counting", "test_acc"))
        lines = {str(line.get_label()): np.asarray(line.get_xydata()) for line in axes.lines}
        # 0.5 and 0.52, in per cent; all images two doublings to the right of 4.
        np.testing.assert_allclose(lines["A"], [[1, 51], [4, 51], [16, 61]])
        np.testing.assert_allclose(lines["Z"], [[1, 61], [4, 61], [16, 61]])
        assert len(lines["C"]) == 0
        band = axes.collections[0].get_paths()[0].get_extents()
        spread = 100 * np.std([0.5, 0.52], ddof=1)
        assert (band.ymin, band.ymax) == pytest.approx((51 - spread, 61 + spread))

    def test_what_was_selected_on_the_test_set_is_marked(
        self, axes: Axes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan = make_plan(["A", "B"], seeds=[0])
        records = [write_run(tmp_path, run, accuracy(run), protocol="paper" if run["method"] == "B" else "clean")
                   for run in plan]  # fmt: skip
        table = summarise(Results(plan, records), "counting", "test_acc")
        draw_curves(axes, table)
        assert [line.get_label() for line in axes.lines] == ["A", "B †"]
        titles: list[str] = []
        monkeypatch.setattr(Axes, "set_title", lambda _, title: titles.append(title))
        save_curves(tmp_path / "curves.png", table)
        save_errors(tmp_path / "errors.png", errors_by_value(Results(plan, records), "counting", 0), "Errors")
        save_errors(tmp_path / "errors.png", errors_by_value(Results(plan[:2], records[:2]), "counting", 0), "Errors")
        assert [title.partition("\n")[2] for title in titles] == [
            "† selected on the test set (protocol: paper)", "† selected on the test set (protocol: paper)", "",
        ]  # fmt: skip

    def test_axes_say_what_they_show(self, axes: Axes, tmp_path: Path) -> None:
        plan = make_plan(["A"], shots=[0, 1, 16], seeds=[0])
        draw_curves(axes, summarise(Results(plan, write_all(tmp_path, plan, accuracy)), "counting", "test_acc"))
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "16", "all"]
        assert axes.get_xscale() == "log"
        assert axes.get_xlabel() == "training images for each value"
        assert axes.get_ylabel() == "Accuracy (%)"

    def test_forty_methods_look_different(self, axes: Axes, tmp_path: Path) -> None:
        plan = make_plan([f"M{i}" for i in range(41)], seeds=[0])
        draw_curves(axes, summarise(Results(plan, write_all(tmp_path, plan[:1], accuracy)), "counting", "test_acc"))
        looks = [(line.get_linestyle(), line.get_color()) for line in axes.lines]
        assert len(set(looks)) == 40
        assert looks[40] == looks[0]

    def test_the_legend_follows_the_ends_of_the_lines(self, axes: Axes, tmp_path: Path) -> None:
        plan = make_plan(["low", "high", "none", "middle"], seeds=[0])
        numbers = {"low": 0.1, "high": 0.9, "middle": 0.5}
        runs = [run for run in plan if run["method"] in numbers]
        records = write_all(tmp_path, runs, lambda run: {"test_acc": numbers[run["method"]]})
        draw_curves(axes, summarise(Results(plan, records), "counting", "test_acc"))
        legend = axes.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == ["high", "middle", "low"]

    @pytest.mark.parametrize(
        ("metric", "largest", "scale"),
        [("test_mae", 49.0, "log"), ("test_mae", 9.0, "linear"), ("test_acc", 49.0, "linear")],
    )
    def test_errors_far_apart_do_not_press_the_small_ones_together(
        self, axes: Axes, tmp_path: Path, metric: str, largest: float, scale: str
    ) -> None:
        plan = make_plan(["A", "B", "none"], seeds=[0])
        numbers = {"A": 1.6, "B": largest}
        runs = [run for run in plan if run["method"] in numbers]
        records = write_all(tmp_path, runs, lambda run: {metric: numbers[run["method"]]})
        draw_curves(axes, summarise(Results(plan, records), "counting", metric))
        assert axes.get_yscale() == scale
        if scale == "log":
            low, high = axes.get_ylim()
            shown = [label.get_text() for label, at in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
                     if low <= at <= high]  # fmt: skip
            assert shown == ["2", "5", "10", "20", "50"]

    def test_an_error_of_zero_is_shown(self, axes: Axes, tmp_path: Path) -> None:
        plan = make_plan(["A", "B"], seeds=[0])
        records = write_all(tmp_path, plan, lambda run: {"test_mae": 0.0 if run["method"] == "A" else 40.0})
        draw_curves(axes, summarise(Results(plan, records), "counting", "test_mae"))
        assert axes.get_yscale() == "linear"

    def test_the_file_is_a_picture_whatever_the_names(self, tmp_path: Path) -> None:
        plan = make_plan(["$x_", "a$b$"], datasets=["$5"], seeds=[0])
        save_curves(
            tmp_path / "plots" / "curves.png",
            summarise(Results(plan, write_all(tmp_path, plan, accuracy)), "$5", "test_acc"),
        )
        assert is_png(tmp_path / "plots" / "curves.png")


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
        frame = errors_by_value(Results(plan, records), "counting", 0)
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
        results = Results(plan, records)
        assert errors_by_value(results, "counting", 0).to_numpy().tolist() == [["A", "clean", 1.0, 1.0, 1.0, 2.0]]
        assert errors_by_value(Results(plan, records[2:]), "counting", 4).empty

    def test_a_prediction_that_is_no_number_is_not_hidden(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], shots=[0], seeds=[0])
        results = Results(plan, [write_run(tmp_path, plan[0], {}, [(1.0, 1.5), (1.0, float("nan"))])])
        assert np.isnan(errors_by_value(results, "counting", 0)["mae"]).all()

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
            errors_by_value(Results(plan, [record]), "counting", 0)

    def test_the_picture_has_a_row_for_each_method(self) -> None:
        rows = [("B", "paper", 0, 5, 3, 1.0), ("B", "paper", 5, 10, 2, 4.0), ("A", "clean", 5, 10, 2, 3.0)]
        above, below = Figure().subplots(2, 1)
        draw_errors(above, below, pd.DataFrame(rows, columns=COLUMNS))
        np.testing.assert_array_equal(np.ma.filled(above.images[0].get_array(), np.nan), [[1, 4], [np.nan, 3]])
        assert [label.get_text() for label in above.get_yticklabels()] == ["B †", "A"]
        assert [label.get_text() for label in below.get_xticklabels()] == ["0 to 5", "5 to 10"]
        assert [bar.get_height() for bar in below.patches] == [3, 2]

    def test_the_file_is_a_picture_made_without_pyplot(self, tmp_path: Path) -> None:
        rows = [("A", "paper", 1, 1, 3, 1.0), ("A", "paper", 2, 2, 3, 2.0)]
        errors = pd.DataFrame(rows, columns=COLUMNS)
        save_errors(tmp_path / "errors.png", errors, "Error by value")
        assert is_png(tmp_path / "errors.png")
        pyplot = sys.modules.get("matplotlib.pyplot")
        assert pyplot is None or pyplot.get_fignums() == []


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 1000
