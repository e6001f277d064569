"""Ranks over data sets: which cells count, against scipy and Demsar's formula, the picture, and refusals in words."""

from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import friedmanchisquare, wilcoxon

from numclip_lightning.report.frame import results_frame
from numclip_lightning.report.overall import dataset_table, overall_sections
from support.benchmark_runs import Entry, make_plan, write_all

DATASETS = ["a", "b", "c", "d"]
# A wins on three of four, C always loses; of the biases that of B is the nearest to 0.
MAE = {"A": [1.0, 2.0, 3.0, 4.0], "B": [1.5, 1.9, 3.5, 4.5], "C": [9.0, 9.0, 9.0, 9.5]}
BIAS = {"A": -1.0, "B": 0.1, "C": 2.0}


def metrics(run: Entry) -> dict[str, float]:
    place = DATASETS.index(run["dataset"])
    bias = BIAS[run["method"]]
    return {"test_mae": MAE[run["method"]][place] + (run["shots"] > 0), "test_bias": bias, "test_guess_mae": 0.1}


def frame_of(folder: Path, datasets: list[str], methods: str = "ABC") -> pd.DataFrame:
    plan = make_plan(methods, datasets=datasets, seeds=[0])
    return results_frame(plan, write_all(folder / "runs", plan, metrics), ["test_mae"])


def sections(folder: Path, datasets: list[str], methods: str = "ABC", metric: str = "test_mae") -> str:
    (folder / "tables").mkdir(exist_ok=True)
    frame = frame_of(folder, datasets, methods)
    return "\n".join(overall_sections(frame, [metric], datasets, "A", folder))


def test_the_means_with_all_images_are_compared(tmp_path: Path) -> None:
    table = dataset_table(frame_of(tmp_path, DATASETS), "test_mae", DATASETS)
    assert {method: table[method].tolist() for method in table} == MAE


def test_ranks_and_tests_are_those_of_scipy(tmp_path: Path) -> None:
    text = sections(tmp_path, DATASETS)
    expected = friedmanchisquare(*MAE.values()).pvalue
    assert f"By Friedman's test the methods differ (p {expected:.3f})" in text
    # q of three methods at 0.05 is 2.343: Demsar's table 5.
    assert f"Mean ranks must be {2.343 * (3 * 4 / (6 * 4)) ** 0.5:.2f} apart" in text
    assert "sets without one: A, B; B, C." in text
    p = wilcoxon([9 - 1, 9 - 2, 9 - 3, 9.5 - 4]).pvalue
    assert f"| C | 3.00 | {p:.3f} | {2 * p:.3f} |" in text
    assert "| A | 1.25 |  |  |" in text
    kept = pd.read_csv(tmp_path / "tables" / "over-datasets-test_mae.csv")
    assert kept["rank"].tolist() == [1.25, 1.75, 3.0]
    assert (tmp_path / "plots" / "over-datasets-test_mae.png").read_bytes().startswith(b"\x89PNG")


def test_the_bias_nearest_to_0_has_rank_1(tmp_path: Path) -> None:
    assert "| B | 1.00 |" in sections(tmp_path, DATASETS, metric="test_bias")


def test_fewer_than_three_data_sets_are_refused_in_words(tmp_path: Path) -> None:
    assert "Not tested: 2 data sets; tests over data sets need 3 or more." in sections(tmp_path, DATASETS[:2])


def test_one_data_set_needs_no_section(tmp_path: Path) -> None:
    assert sections(tmp_path, DATASETS[:1]) == ""


def test_fewer_than_three_methods_are_refused_in_words(tmp_path: Path) -> None:
    assert "Not tested: 2 methods have all their runs on 4 data sets" in sections(tmp_path, DATASETS, methods="AB")


def test_a_method_that_lacks_runs_is_left_out(tmp_path: Path) -> None:
    plan = make_plan("ABC", datasets=DATASETS, seeds=[0], shots=[0])
    records = write_all(tmp_path / "runs", plan[:-1], metrics)
    table = dataset_table(results_frame(plan, records, ["test_mae"]), "test_mae", DATASETS)
    assert list(table.columns) == ["A", "B"]


@pytest.mark.parametrize("select_on", ["test"])
def test_results_selected_on_the_test_set_are_left_out(tmp_path: Path, select_on: str) -> None:
    plan = make_plan("AB", datasets=DATASETS, seeds=[0], shots=[0])
    records = write_all(tmp_path / "runs", plan, metrics)
    records = [{**record, "select_on": select_on} if record["method"] == "B" else record for record in records]
    assert list(dataset_table(results_frame(plan, records, ["test_mae"]), "test_mae", DATASETS).columns) == ["A"]
