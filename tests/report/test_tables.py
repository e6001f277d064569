"""Tables as text: marks, counts, notes, escapes, and CSV that holds the numbers themselves."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from numclip_lightning.metrics import measure_of
from numclip_lightning.report.comparison_tables import comparison_table
from numclip_lightning.report.cost_table import cost_table
from numclip_lightning.report.frame import results_frame
from numclip_lightning.report.page import comparison_summary
from numclip_lightning.report.published import PublishedFigure
from numclip_lightning.report.statistics import compare, summarise
from numclip_lightning.report.tables import LATEX, MARKDOWN, latex_table, markdown_table, notes
from support.benchmark_runs import make_plan, rows_of, write_failure, write_run

PUBLISHED = PublishedFigure("A", "test_acc", 0.6961, "A Paper & Co, 2024")


@pytest.fixture
def rows(tmp_path: Path) -> pd.DataFrame:
    """Three methods at 4 shots and with all images; C failed once and was once not run."""
    plan = make_plan(["A", "B", "C"], seeds=[0, 1])
    numbers = {("A", 4): 0.5, ("A", 0): 0.9, ("B", 4): 0.5, ("B", 0): 0.8, ("C", 4): 0.4, ("C", 0): 0.95}
    records = []
    for run in plan:
        if (run["method"], run["shots"], run["seed"]) == ("C", 0, 0):
            records.append(write_failure(tmp_path, run, "it broke"))
        elif (run["method"], run["shots"], run["seed"]) != ("C", 0, 1):
            acc = numbers[run["method"], run["shots"]] + 0.02 * run["seed"]
            select_on = "test" if run["method"] == "B" and run["shots"] == 0 else "val"
            records.append(write_run(tmp_path, run, {"test_acc": acc}, select_on=select_on))
    return results_frame(plan, records, ["test_acc"])


def lines_of(text: str) -> list[str]:
    return text.strip().splitlines()


def markdown(rows: pd.DataFrame, metric: str, *figures: PublishedFigure) -> str:
    cells, measure = summarise(rows, metric, figures), measure_of(metric)
    return markdown_table(cells, measure, notes(cells, rows, measure, figures, MARKDOWN))


def latex(rows: pd.DataFrame, metric: str, *figures: PublishedFigure) -> str:
    cells, measure = summarise(rows, metric, figures), measure_of(metric)
    below = notes(cells, rows, measure, figures, LATEX)
    return latex_table(cells, measure, below, dataset="counting", metric=metric)


class TestMarkdown:
    def test_cells_marks_and_counts(self, rows: pd.DataFrame) -> None:
        lines = lines_of(markdown(rows, "test_acc"))
        assert lines[:5] == [
            "| Method | 4 shots | all images |",
            "| --- | ---: | ---: |",
            "| A | **51.00 ± 1.41** | **91.00 ± 1.41** |",
            "| B | **51.00 ± 1.41** | 81.00 ± 1.41 † |",
            "| C | <u>41.00 ± 1.41</u> | 0 of 2 |",
        ]

    def test_notes_say_what_the_marks_mean(self, rows: pd.DataFrame) -> None:
        note = lines_of(markdown(rows, "test_acc"))[-1]
        assert note.startswith(
            "Mean ± sample standard deviation over 1 fold and 2 seeds; higher is better; **best**, "
            "<u>second best</u> of a column."
        )
        assert "“2 of 3”: 2 of 3 planned runs have a number." in note
        assert "†: selected on the test set (select_on: test)" in note
        assert "Published" not in note

    def test_a_whole_table_of_one_seed_needs_no_notes(self, tmp_path: Path) -> None:
        rows = rows_of(tmp_path, make_plan(["A"], shots=[0], seeds=[0]), "test_mae", lambda _: 1.234)
        assert lines_of(markdown(rows, "test_mae")) == [
            "| Method | all images |",
            "| --- | ---: |",
            "| A | **1.23** |",
            "",
            "Mean over 1 fold and 1 seed; lower is better; **best**, <u>second best</u> of a column.",
        ]

    def test_some_runs_of_a_cell(self, tmp_path: Path) -> None:
        numbers = {0: 1.0, 1: 2.0}
        rows = rows_of(tmp_path, make_plan(["A"], shots=[0]), "test_mae", lambda run: numbers.get(run["seed"]))
        assert "| A | 1.50 ± 0.71 (2 of 3) |" in markdown(rows, "test_mae")

    def test_what_was_not_planned_is_left_empty(self, tmp_path: Path) -> None:
        plan = [*make_plan(["A"], seeds=[0]), *make_plan(["B"], shots=[4], seeds=[0])]
        rows = rows_of(tmp_path, plan, "test_mae", lambda _: 1.0)
        assert "| B | **1.00** |  |" in markdown(rows, "test_mae")

    def test_a_published_figure_stands_beside_its_method_or_below(self, rows: pd.DataFrame) -> None:
        lines = lines_of(markdown(rows, "test_acc", PUBLISHED))
        assert lines[0] == "| Method | 4 shots | all images | Published |"
        assert lines[2].endswith("| **91.00 ± 1.41** | 69.61 |")
        assert lines[3].endswith("† |  |")
        assert lines[-1].endswith("Published: as printed in A Paper & Co, 2024, with their own backbones and splits.")
        other = PUBLISHED._replace(method="Other")
        lines = lines_of(markdown(rows, "test_acc", other))
        assert lines[5] == "| Other |  |  | 69.61 |"

    def test_a_tolerance_stands_beside_its_figure_alone(self, rows: pd.DataFrame) -> None:
        figures = (
            PUBLISHED._replace(tolerance=0.005, note="others got 70.1 (A#1)"),
            PUBLISHED._replace(method="Other", value=0.5),
        )
        lines = lines_of(markdown(rows, "test_acc", *figures))
        assert lines[2].endswith("| 69.61 ± 0.50 |")
        assert lines[5] == "| Other |  |  | 50.00 |"
        assert lines[-1].endswith(
            "± of a published figure: its printed deviation, or the distance to what others got. Others got 70.1 (A#1)."
        )
        assert r"69.61 $\pm$ 0.50" in latex(rows, "test_acc", *figures)

    def test_a_figure_of_another_metric_is_no_column(self, rows: pd.DataFrame) -> None:
        assert "published" not in summarise(rows, "test_acc", [PUBLISHED._replace(metric="test_mae")])

    def test_names_do_not_break_the_table(self, tmp_path: Path) -> None:
        plan = make_plan(["A|B <x> *"], shots=[0], seeds=[0])
        text = markdown(rows_of(tmp_path, plan, "test_mae", lambda _: 1.0), "test_mae")
        assert lines_of(text)[2] == r"| A\|B \<x> \* | **1.00** |"


class TestLatex:
    def test_cells_marks_and_environment(self, rows: pd.DataFrame) -> None:
        lines = lines_of(latex(rows, "test_acc", PUBLISHED))
        assert lines[lines.index(r"\midrule") - 1 :][:5] == [
            r"Method & 4 shots & all images & Published \\",
            r"\midrule",
            r"A & \textbf{51.00 $\pm$ 1.41} & \textbf{91.00 $\pm$ 1.41} & 69.61 \\",
            r"B & \textbf{51.00 $\pm$ 1.41} & 81.00 $\pm$ 1.41$^{\dagger}$ &  \\",
            r"C & \underline{41.00 $\pm$ 1.41} & 0 of 2 &  \\",
        ]
        assert r"\begin{tabular}{lrrr}" in lines
        assert r"\caption{Accuracy (\%) on counting}" in lines
        assert r"\label{tab:counting-test-acc}" in lines
        (note,) = [line for line in lines if "footnotesize" in line]
        assert r"\textbf{best}, \underline{second best}" in note
        assert r"$^{\dagger}$: selected on the test set" in note
        assert r"A Paper \& Co, 2024" in note

    def test_every_special_letter_is_escaped(self, tmp_path: Path) -> None:
        plan = make_plan([r"a_b & 5% $x$ #1 {y} ~z^2 \n <|>"], shots=[0], seeds=[0])
        text = latex(rows_of(tmp_path, plan, "test_mae", lambda _: 1.0), "test_mae")
        assert (
            r"a\_b \& 5\% \$x\$ \#1 \{y\} \textasciitilde{}z\textasciicircum{}2 \textbackslash{}n "
            r"\textless{}\textbar{}\textgreater{} & \textbf{1.00} \\"
        ) in text


class TestCsv:
    def test_numbers_are_in_the_unit_of_the_runs(self, rows: pd.DataFrame, tmp_path: Path) -> None:
        summarise(rows, "test_acc", [PUBLISHED, PUBLISHED._replace(method="Other")]).to_csv(
            tmp_path / "table.csv", index=False
        )
        frame = pd.read_csv(tmp_path / "table.csv")
        assert list(frame.columns) == [
            "method", "shots", "mean", "std", "n", "planned", "rank", "selected_on_test", "published",
        ]  # fmt: skip
        best = frame[(frame["method"] == "A") & (frame["shots"] == 0)].iloc[0]
        assert (best["mean"], best["n"], best["rank"]) == (pytest.approx(0.91), 2, 1)
        assert best["std"] == pytest.approx(0.02 / 2**0.5)
        assert best["published"] == 0.6961
        nothing = frame[(frame["method"] == "C") & (frame["shots"] == 0)].iloc[0]
        assert (nothing["n"], nothing["planned"]) == (0, 2)
        assert nothing[["mean", "std", "rank", "published"]].isna().all()
        assert frame[frame["method"] == "Other"]["published"].tolist() == [0.6961]


def test_comparisons_have_differences_intervals_and_verdicts(tmp_path: Path) -> None:
    plan = make_plan(["A", "B|", "C", "Z", "Y"], shots=[4], learn_nothing=["Z", "Y"])
    # A and Z alike; B far worse with little spread; C shifted; Y without runs.
    shift: dict[str, list[float]] = {
        "A": [0, 0, 0],
        "B|": [0.5, 0.501, 0.499],
        "C": [0.25, 0.25, 0.25],
        "Z": [0, 0.01, -0.02],
    }
    rows = rows_of(tmp_path, plan, "test_mae", lambda run: (
        1 + shift[run["method"]][run["seed"]] if run["method"] in shift else None))  # fmt: skip
    lines = lines_of(comparison_table(compare(rows, "test_mae", "A"), measure_of("test_mae")))
    assert lines[0] == "| Method | Shots | Pairs | Difference | 95 % interval | p | p, corrected | Result |"
    assert lines[2] == r"| B\| | 4 shots | 3 | 0.50 | 0.50 to 0.50 | < 0.001 | < 0.001 | worse |"
    assert lines[3] == "| C | 4 shots | 3 | 0.25 |  |  |  | the same difference in every pair: no test |"
    assert lines[4].endswith("| no difference shown |")
    assert lines[5] == "| Y | 4 shots | 0 |  |  |  |  | fewer than 2 pairs: no test |"
    assert "| Y | any | 0 |" in comparison_table(compare(rows, "test_mae", "Z"), measure_of("test_mae"))


class TestCosts:
    def test_a_row_for_each_method(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B", "C"], seeds=[0, 1])
        records = [
            write_run(tmp_path, run, {}, seconds=1000.0 * (run["seed"] + 1), peak_memory_mib=run["shots"] * 100.0,
                      trained_parameters=5000 + run["shots"] if run["method"] == "A" else None)
            for run in plan
            if run["method"] != "C"
        ]  # fmt: skip
        assert lines_of(cost_table(results_frame(plan, records, ["test_mae"])))[:5] == [
            "| Method | Seconds, 4 shots | Seconds, all images | Peak memory (MiB) | Trained or solved parameters |",
            "| --- | ---: | ---: | ---: | ---: |",
            "| A | 1,500.0 | 1,500.0 | 400 | 5,000 to 5,004 |",
            "| B | 1,500.0 | 1,500.0 | 400 |  |",
            "| C |  |  |  |  |",
        ]

    def test_notes_name_the_memory_and_the_machine(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], shots=[0], seeds=[0, 1, 2])
        made: dict[str, Any] = {"device": "cpu (1 of 2 cores)", "processes": 2}
        records = [write_run(tmp_path, run, {}, **(made if run["seed"] < 2 else {})) for run in plan]

        def text(part: slice) -> str:
            return cost_table(results_frame(plan[part], records[part], ["test_mae"]))

        assert "on a CPU it is that of the whole process, with the libraries." in text(slice(3))
        assert text(slice(3)).endswith("Made on cpu (1 of 2 cores), 2 at once; unknown for the others.\n")
        assert text(slice(2)).endswith("(1 of 2 cores), 2 at once.\n")
        assert text(slice(2, 3)).endswith("with the libraries.\n")


def test_one_run_of_each_method_is_said_in_a_sentence_and_not_in_empty_rows(tmp_path: Path) -> None:
    plan = make_plan(["A", "B"], seeds=[0])
    records = [write_run(tmp_path, run, {"test_mae": 1.0}) for run in plan]
    measure, tests = measure_of("test_mae"), compare(results_frame(plan, records, ["test_mae"]), "test_mae", "A")
    said = comparison_summary(tests, measure, "A", several_shots=True)
    assert said == "No method has two runs to pair with A's, so that nothing is tested over runs."
