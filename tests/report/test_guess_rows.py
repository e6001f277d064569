"""What guessing costs: rows that are never ranked, from the runs that know it."""

from pathlib import Path

import pandas as pd
import pytest

from numclip_lightning.metrics import measure_of
from numclip_lightning.report.frame import mean_rows, results_frame
from numclip_lightning.report.guessing import guess_rows
from numclip_lightning.report.statistics import compare, summarise
from numclip_lightning.report.tables import MARKDOWN, markdown_table, notes
from support.benchmark_runs import Entry, make_plan, write_all

# Better than both methods, as it may be; guessing is no method.
GUESS = {("counting", 0): 0.5, ("counting", 4): 0.8, ("faces", 0): 1.5, ("faces", 4): 1.6}


def metrics(run: Entry) -> dict[str, float]:
    guess = 9.0 if run["method"] == "Z" else GUESS[run["dataset"], run["shots"]] + 0.1 * run["seed"]
    return {"test_mae": {"A": 1.0, "B": 2.0, "Z": 3.0}[run["method"]], "test_guess_mae": guess, "test_guess_acc": 0.25}


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    plan = make_plan(["A", "B", "Z"], datasets=["counting", "faces"], seeds=[0, 1], learn_nothing=["Z"])
    return results_frame(plan, write_all(tmp_path, plan, metrics), ["test_mae"])


def table(rows: pd.DataFrame, metric: str) -> str:
    cells, measure = summarise(rows, metric), measure_of(metric)
    return markdown_table(cells, measure, notes(cells, rows, measure, (), MARKDOWN))


def test_the_row_is_there_and_never_ranked(frame: pd.DataFrame) -> None:
    text = table(frame[frame["dataset"] == "counting"], "test_mae")
    assert "| Guessing (median) | 0.85 ± 0.07 | 0.55 ± 0.07 |\n" in text
    assert "| A | **1.00 ± 0.00** | **1.00 ± 0.00** |\n" in text
    assert "Guessing: the same answer for every image, taken from the training part" in text


def test_the_training_part_of_methods_that_learn_counts(frame: pd.DataFrame) -> None:
    rows = guess_rows(frame[frame["dataset"] == "counting"], "test_mae")
    assert rows.set_index("shots")["mean"].to_dict() == pytest.approx({0: 0.55, 4: 0.85})
    assert rows["n"].tolist() == [2, 2]


def test_where_nothing_learns_any_run_has_it(frame: pd.DataFrame) -> None:
    rows = frame[(frame["dataset"] == "counting") & (frame["method"] == "Z")]
    assert guess_rows(rows, "test_mae")["mean"].tolist() == [9.0]


def test_accuracy_has_the_commonest_level(tmp_path: Path) -> None:
    plan = make_plan(["A"], shots=[0], seeds=[0])
    records = write_all(tmp_path, plan, lambda _: {"test_acc": 0.5, "test_guess_acc": 0.25})
    assert "| Guessing (commonest level) | 25.00 |" in table(results_frame(plan, records, []), "test_acc")


def test_no_row_where_no_run_knows(tmp_path: Path) -> None:
    plan = make_plan(["A"], shots=[0], seeds=[0])
    rows = results_frame(plan, write_all(tmp_path, plan, lambda _: {"test_mae": 0.5, "test_qwk": 0.5}), [])
    assert "Guessing" not in table(rows, "test_mae")
    assert guess_rows(rows, "test_qwk").empty


def test_nothing_is_tested_against_a_guess(frame: pd.DataFrame) -> None:
    assert set(compare(frame[frame["dataset"] == "faces"], "test_mae", "A")["method"]) == {"B", "Z"}


def test_a_mean_over_datasets_has_the_mean_guess(frame: pd.DataFrame) -> None:
    rows = mean_rows(frame, "both", ["counting", "faces"])
    assert guess_rows(rows, "test_mae").set_index("shots")["mean"].to_dict() == pytest.approx({0: 1.05, 4: 1.25})
