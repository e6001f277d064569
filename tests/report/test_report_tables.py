"""Tables as text: marks, counts, notes, escapes, and CSV that holds the numbers themselves."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from numclip_lightning.report.costs import cost_frame, cost_table
from numclip_lightning.report.paired import compare
from numclip_lightning.report.results import Results
from numclip_lightning.report.summary import summarise

from numclip_lightning.report.published import PublishedFigure
from numclip_lightning.report.tables import (
    comparison_frame,
    comparison_table,
    latex_table,
    markdown_table,
    table_frame,
)
from support.benchmark_runs import make_plan, write_all, write_failure, write_run

PUBLISHED = PublishedFigure("A", "test_acc", 0.6961, "A Paper & Co, 2024")


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Three methods at 4 shots and with all images; C failed once and was once not run."""
    plan = make_plan(["A", "B", "C"], seeds=[0, 1])
    numbers = {("A", 4): 0.5, ("A", 0): 0.9, ("B", 4): 0.5, ("B", 0): 0.8, ("C", 4): 0.4, ("C", 0): 0.95}
    records = []
    for run in plan:
        if (run["method"], run["shots"], run["seed"]) == ("C", 0, 0):
            records.append(write_failure(tmp_path, run, "it broke"))
        elif (run["method"], run["shots"], run["seed"]) != ("C", 0, 1):
            acc = numbers[run["method"], run["shots"]] + 0.02 * run["seed"]
            protocol = "paper" if run["method"] == "B" and run["shots"] == 0 else "clean"
            records.append(write_run(tmp_path, run, {"test_acc": acc}, protocol=protocol))
    return Results(plan, records)


def lines_of(text: str) -> list[str]:
    return text.strip().splitlines()


class TestMarkdown:
    def test_cells_marks_and_counts(self, results: Results) -> None:
        lines = lines_of(markdown_table(summarise(results, "counting", "test_acc")))
        assert lines[:5] == [
            "| Method | 4 shots | all images |",
            "| --- | ---: | ---: |",
            "| A | **51.00 ± 1.41** | **91.00 ± 1.41** |",
            "| B | **51.00 ± 1.41** | 81.00 ± 1.41 † |",
            "| C | <u>41.00 ± 1.41</u> | 0 of 2 |",
        ]

    def test_notes_say_what_the_marks_mean(self, results: Results) -> None:
        note = lines_of(markdown_table(summarise(results, "counting", "test_acc")))[-1]
        assert note.startswith(
            "Mean ± sample standard deviation over 1 fold and 2 seeds; higher is better; **best**, "
            "<u>second best</u> of a column."
        )
        assert "“2 of 3”: so many of the planned runs have a number." in note
        assert "†: selected on the test set (protocol: paper)" in note
        assert "Published" not in note

    def test_a_whole_table_of_one_seed_needs_no_notes(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], shots=[0], seeds=[0])
        table = summarise(
            Results(plan, write_all(tmp_path, plan, lambda _: {"test_mae": 1.234})), "counting", "test_mae"
        )
        assert lines_of(markdown_table(table)) == [
            "| Method | all images |",
            "| --- | ---: |",
            "| A | **1.23** |",
            "",
            "Mean over 1 fold and 1 seed; lower is better; **best**, <u>second best</u> of a column.",
        ]

    def test_some_runs_of_a_cell(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], shots=[0])
        records = [write_run(tmp_path, run, {"test_mae": 1.0 + run["seed"]}) for run in plan[:2]]
        text = markdown_table(summarise(Results(plan, records), "counting", "test_mae"))
        assert "| A | 1.50 ± 0.71 (2 of 3) |" in text

    def test_what_was_not_planned_is_left_empty(self, tmp_path: Path) -> None:
        plan = [*make_plan(["A"], seeds=[0]), *make_plan(["B"], shots=[4], seeds=[0])]
        results = Results(plan, write_all(tmp_path, plan, lambda _: {"test_mae": 1.0}))
        assert "| B | **1.00** |  |" in markdown_table(summarise(results, "counting", "test_mae"))

    def test_a_published_figure_stands_beside_its_method_or_below(self, results: Results) -> None:
        lines = lines_of(markdown_table(summarise(results, "counting", "test_acc", [PUBLISHED])))
        assert lines[0] == "| Method | 4 shots | all images | Published |"
        assert lines[2].endswith("| **91.00 ± 1.41** | 69.61 |")
        assert lines[3].endswith("† |  |")
        assert lines[-1].endswith("Published: as printed in A Paper & Co, 2024, with backbone and splits of its own.")
        other = PUBLISHED._replace(method="Other")
        lines = lines_of(markdown_table(summarise(results, "counting", "test_acc", [other])))
        assert lines[5] == "| Other |  |  | 69.61 |"

    def test_a_figure_of_another_metric_is_no_column(self, results: Results) -> None:
        table = summarise(results, "counting", "test_acc", [PUBLISHED._replace(metric="test_mae")])
        assert "Published" not in markdown_table(table)
        assert "published" not in table_frame(table).columns

    def test_names_do_not_break_the_table(self, tmp_path: Path) -> None:
        plan = make_plan(["A|B <x> *"], shots=[0], seeds=[0])
        results = Results(plan, write_all(tmp_path, plan, lambda _: {"test_mae": 1.0}))
        text = markdown_table(summarise(results, "counting", "test_mae"))
        assert lines_of(text)[2] == r"| A\|B \<x> \* | **1.00** |"


class TestLatex:
    def test_cells_marks_and_environment(self, results: Results) -> None:
        lines = lines_of(latex_table(summarise(results, "counting", "test_acc", [PUBLISHED])))
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
        results = Results(plan, write_all(tmp_path, plan, lambda _: {"test_mae": 1.0}))
        text = latex_table(summarise(results, "counting", "test_mae"))
        assert (
            r"a\_b \& 5\% \$x\$ \#1 \{y\} \textasciitilde{}z\textasciicircum{}2 \textbackslash{}n "
            r"\textless{}\textbar{}\textgreater{} & \textbf{1.00} \\"
        ) in text


class TestCsv:
    def test_numbers_are_in_the_unit_of_the_runs(self, results: Results, tmp_path: Path) -> None:
        table = summarise(results, "counting", "test_acc", [PUBLISHED, PUBLISHED._replace(method="Other")])
        table_frame(table).to_csv(tmp_path / "table.csv", index=False)
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

    def test_tests_as_table_and_csv(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B|", "C", "Z", "Y"], shots=[4], learn_nothing=["Z", "Y"])
        # A and Z alike; B far worse with little spread; C shifted; Y without runs.
        shift: dict[str, list[float]] = {
            "A": [0, 0, 0],
            "B|": [0.5, 0.501, 0.499],
            "C": [0.25, 0.25, 0.25],
            "Z": [0, 0.01, -0.02],
        }
        records = [
            write_run(tmp_path, run, {"test_mae": 1 + shift[run["method"]][run["seed"]]})
            for run in plan
            if run["method"] != "Y"
        ]
        results = Results(plan, records)
        table, tests = summarise(results, "counting", "test_mae"), compare(results, "counting", "test_mae", "A")
        lines = lines_of(comparison_table(tests, table))
        assert lines[0] == "| Method | Shots | Pairs | Difference | 95 % interval | p | p, corrected | Says |"
        assert lines[2] == r"| B\| | 4 shots | 3 | 0.50 | 0.50 to 0.50 | < 0.001 | < 0.001 | worse |"
        assert lines[3] == "| C | 4 shots | 3 | 0.25 |  |  |  | the same difference in every pair: no test |"
        assert lines[4].endswith("| no difference shown |")
        assert lines[5] == "| Y | 4 shots | 0 |  |  |  |  | fewer than 2 pairs: no test |"
        frame = comparison_frame(tests, table).set_index("method")
        assert frame.loc["B|", "difference"] == pytest.approx(0.5)
        assert frame.loc["Z", "p_holm"] >= frame.loc["Z", "p"]
        assert frame["verdict"].tolist()[0] == "worse"
        both = comparison_table(compare(results, "counting", "test_mae", "Z"), table)
        assert "| Y | any | 0 |" in both


class TestCosts:
    def test_means_over_finished_runs(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B", "C"], seeds=[0, 1])
        records = [
            write_run(tmp_path, run, {}, seconds=1000.0 * (run["seed"] + 1), peak_memory_mib=run["shots"] * 100.0,
                      trained_parameters=5000 + run["shots"] if run["method"] == "A" else None)
            for run in plan
            if run["method"] != "C"
        ]  # fmt: skip
        records.append(write_failure(tmp_path, next(run for run in plan if run["method"] == "C"), "no"))
        results = Results(plan, records)
        frame = cost_frame(results, "counting").set_index(["method", "shots"])
        assert frame.loc[("A", 4)].tolist() == ["clean", 2, 1500.0, 400.0, 5004.0]
        assert frame.loc[("C", 4), "n"] == 0
        assert lines_of(cost_table(results, "counting"))[:5] == [
            "| Method | Seconds, 4 shots | Seconds, all images | Peak memory (MiB) | Trained or solved parameters |",
            "| --- | ---: | ---: | ---: | ---: |",
            "| A | 1,500.0 | 1,500.0 | 400 | 5,000 to 5,004 |",
            "| B | 1,500.0 | 1,500.0 | 400 |  |",
            "| C |  |  |  |  |",
        ]

    def test_it_says_what_memory_is_and_where_the_runs_were_made(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], shots=[0], seeds=[0, 1, 2])
        made: dict[str, Any] = {"device": "cpu (1 of 2 cores)", "processes": 2}
        records = [write_run(tmp_path, run, {}, **(made if run["seed"] < 2 else {})) for run in plan]
        text = cost_table(Results(plan, records), "counting")
        assert "on a CPU it is the whole process, with the libraries." in text
        assert text.endswith("Made on cpu (1 of 2 cores), 2 at once; others do not say.\n")
        assert cost_table(Results(plan[:2], records[:2]), "counting").endswith("(1 of 2 cores), 2 at once.\n")
        assert cost_table(Results(plan[2:], records[2:]), "counting").endswith("with the libraries.\n")
