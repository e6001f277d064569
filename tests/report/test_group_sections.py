"""The section of a benchmark's report on groups: each number by a loop, and nothing where nothing is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from numclip_lightning.report.frame import results_frame
from numclip_lightning.report.group_sections import group_sections
from numclip_lightning.report.report import Request, write_report
from support.benchmark_runs import make_plan, write_run

SEXES = ["f"] * 50 + ["m"] * 40 + ["x"] * 12


@pytest.fixture
def records(tmp_path: Path) -> list[dict[str, Any]]:
    """Two methods with two seeds on 102 images of three sexes; B is worse for m."""
    random, found = np.random.default_rng(0), []
    targets = random.choice([0.0, 1.0, 2.0], len(SEXES))
    for run in make_plan(["A", "B"], shots=[0], seeds=[0, 1]):
        errors = random.normal(size=len(SEXES)) * np.where((np.array(SEXES) == "m") & (run["method"] == "B"), 6, 1)
        record = write_run(tmp_path, run, {"test_mae": 1.0}, list(zip(targets, targets + errors, strict=True)))
        file = record["folder"] / "test_predictions.csv"
        pd.read_csv(file).assign(attribute_sex=SEXES).to_csv(file, index=False)
        found.append(record)
    return found


def test_each_group_is_the_mean_over_its_images_and_runs(records: list[dict[str, Any]], tmp_path: Path) -> None:
    plan = make_plan(["A", "B"], shots=[0], seeds=[0, 1])
    made = write_report(plan, records, tmp_path / "report", Request("T", "x", metrics=["test_mae"]))
    page = made.read_text(encoding="utf-8")
    assert "#### counting by sex" in page
    # Twelve images are few, also if two runs have read them.
    assert "are left out: x." in page
    assert "| Method | f (n 50) | m (n 40) | Gap | Gap at equal targets |" in page
    numbers = pd.read_csv(made.parent / "tables" / "counting-groups.csv")
    for method in ("A", "B"):
        frames = [pd.read_csv(run["folder"] / "test_predictions.csv") for run in records if run["method"] == method]
        for sex in ("f", "m"):
            errors = [
                abs(row["value"] - row["target"])
                for frame in frames
                for row in frame.to_dict("records")
                if row["attribute_sex"] == sex
            ]
            own = numbers[(numbers["method"] == method) & (numbers["value"] == sex) & (numbers["metric"] == "mae")]
            assert own["number"].item() == pytest.approx(np.mean(errors))
            assert own["low"].item() < own["number"].item() < own["high"].item()
            assert own["groups"].item() == SEXES.count(sex)
    assert "worst m" in next(line for line in page.splitlines() if line.startswith("| B |") and "worst" in line)


def test_without_attributes_there_is_no_section(tmp_path: Path) -> None:
    plan = make_plan(["A"], shots=[0], seeds=[0])
    rows = results_frame(plan, [write_run(tmp_path, run, {"test_mae": 1.0}) for run in plan], ["test_mae"])
    assert group_sections(rows, "counting", 0, tmp_path, "counting") == []
