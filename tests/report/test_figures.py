"""Pictures hold the numbers they were given, and errors by value are those of a slow count."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from numclip_lightning.metrics import measure_of
from numclip_lightning.report.figures import draw_curves, draw_errors, save_curves, save_errors
from numclip_lightning.report.frame import results_frame
from numclip_lightning.report.predictions import errors_by_value
from numclip_lightning.report.statistics import summarise
from support.benchmark_runs import Entry, make_plan, rows_of, write_run

COLUMNS = ["method", "select_on", "low", "high", "images", "mae"]


@pytest.fixture
def axes() -> Axes:
    return Figure().subplots()


def accuracy(run: Entry) -> float:
    return float(0.5 + 0.1 * (run["shots"] == 0) + 0.02 * run["seed"])


def draw(axes: Axes, rows: pd.DataFrame, metric: str = "test_acc") -> None:
    draw_curves(axes, summarise(rows, metric), measure_of(metric))


class TestCurves:
    def test_a_line_for_each_method_and_a_band(self, axes: Axes, tmp_path: Path) -> None:
        plan = make_plan(["A", "Z", "C"], shots=[0, 1, 4], seeds=[0, 1], learn_nothing=["Z"])
        draw(axes, rows_of(tmp_path, plan, "test_acc", lambda run: None if run["method"] == "C" else accuracy(run)))
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
        records = [write_run(tmp_path, run, {"test_acc": 0.5}, select_on="test" if run["method"] == "B" else "val")
                   for run in plan]  # fmt: skip
        rows = results_frame(plan, records, ["test_acc"])
        draw(axes, rows)
        assert [line.get_label() for line in axes.lines] == ["A", "B †"]
        titles: list[str] = []
        monkeypatch.setattr(Axes, "set_title", lambda _, title: titles.append(title))
        save_curves(tmp_path / "curves.png", summarise(rows, "test_acc"), measure_of("test_acc"), "counting")
        save_errors(tmp_path / "errors.png", errors_by_value(rows, 0), "Errors")
        save_errors(tmp_path / "errors.png", errors_by_value(rows[rows["method"] == "A"], 0), "Errors")
        mark = "† selected on the test set (select_on: test)"
        assert [title.partition("\n")[2] for title in titles] == [mark, mark, ""]

    def test_axes_are_labelled(self, axes: Axes, tmp_path: Path) -> None:
        plan = make_plan(["A"], shots=[0, 1, 16], seeds=[0])
        draw(axes, rows_of(tmp_path, plan, "test_acc", accuracy))
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "16", "all"]
        assert axes.get_xscale() == "log"
        assert axes.get_xlabel() == "training images for each value"
        assert axes.get_ylabel() == "Accuracy (%)"

    def test_forty_methods_look_different(self, axes: Axes, tmp_path: Path) -> None:
        plan = make_plan([f"M{i}" for i in range(41)], seeds=[0])
        draw(axes, rows_of(tmp_path, plan, "test_acc", accuracy))
        looks = [(line.get_linestyle(), line.get_color()) for line in axes.lines]
        assert len(set(looks)) == 40
        assert looks[40] == looks[0]

    def test_the_legend_follows_the_ends_of_the_lines(self, axes: Axes, tmp_path: Path) -> None:
        plan = make_plan(["low", "high", "none", "middle"], seeds=[0])
        numbers = {"low": 0.1, "high": 0.9, "middle": 0.5}
        draw(axes, rows_of(tmp_path, plan, "test_acc", lambda run: numbers.get(run["method"])))
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
        draw(axes, rows_of(tmp_path, plan, metric, lambda run: numbers.get(run["method"])), metric)
        assert axes.get_yscale() == scale
        if scale == "log":
            low, high = axes.get_ylim()
            shown = [label.get_text() for label, at in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
                     if low <= at <= high]  # fmt: skip
            assert shown == ["2", "5", "10", "20", "50"]

    def test_an_error_of_zero_is_shown(self, axes: Axes, tmp_path: Path) -> None:
        plan = make_plan(["A", "B"], seeds=[0])
        rows = rows_of(tmp_path, plan, "test_mae", lambda run: 0.0 if run["method"] == "A" else 40.0)
        draw(axes, rows, "test_mae")
        assert axes.get_yscale() == "linear"

    def test_the_file_is_a_picture_whatever_the_names(self, tmp_path: Path) -> None:
        plan = make_plan(["$x_", "a$b$"], datasets=["$5"], seeds=[0])
        cells = summarise(rows_of(tmp_path, plan, "test_acc", accuracy), "test_acc")
        save_curves(tmp_path / "plots" / "curves.png", cells, measure_of("test_acc"), "$5")
        assert is_png(tmp_path / "plots" / "curves.png")


class TestErrors:
    def test_the_picture_has_a_row_for_each_method(self) -> None:
        rows = [("B", "test", 0, 5, 3, 1.0), ("B", "test", 5, 10, 2, 4.0), ("A", "val", 5, 10, 2, 3.0)]
        above, below = Figure().subplots(2, 1)
        draw_errors(above, below, pd.DataFrame(rows, columns=COLUMNS))
        np.testing.assert_array_equal(np.ma.filled(above.images[0].get_array(), np.nan), [[1, 4], [np.nan, 3]])
        assert [label.get_text() for label in above.get_yticklabels()] == ["B †", "A"]
        assert [label.get_text() for label in below.get_xticklabels()] == ["0 to 5", "5 to 10"]
        assert [bar.get_height() for bar in below.patches] == [3, 2]

    @pytest.mark.parametrize("width", [1, 30], ids=["ages", "prices"])
    def test_the_names_of_the_bins_do_not_run_into_each_other(self, width: int) -> None:
        rows = [("L1", "val", low * width, low * width + width - 1, 5, 1.0) for low in range(12)]
        figure = Figure(figsize=(10, 4.5), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        draw_errors(above, below, pd.DataFrame(rows, columns=COLUMNS))
        figure.draw_without_rendering()
        slanted = {label.get_rotation() for label in below.get_xticklabels()}
        ends = [label.get_window_extent() for label in below.get_xticklabels()]
        assert slanted == ({0.0} if width == 1 else {30.0})
        # Slanted ones end at their place, one beside the other.
        assert all(left.x1 < right.x1 - 5 for left, right in pairwise(ends))
        if width == 1:
            assert all(left.x1 < right.x0 for left, right in pairwise(ends))

    def test_the_file_is_a_picture_made_without_pyplot(self, tmp_path: Path) -> None:
        rows = [("A", "test", 1, 1, 3, 1.0), ("A", "test", 2, 2, 3, 2.0)]
        errors = pd.DataFrame(rows, columns=COLUMNS)
        save_errors(tmp_path / "errors.png", errors, "Error by value")
        assert is_png(tmp_path / "errors.png")
        pyplot = sys.modules.get("matplotlib.pyplot")
        assert pyplot is None or pyplot.get_fignums() == []


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 1000
