"""Many-, medium- and few-shot errors and score curves from files, against a slow loop over the rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from numclip_lightning.errors import DataError
from numclip_lightning.report.by_count import errors_by_count
from numclip_lightning.report.frame import results_frame
from numclip_lightning.report.report import Request, write_report
from numclip_lightning.report.score_curve import score_curves
from support.benchmark_runs import Entry, make_plan, write_run

# Training images at 0, 0.5, ..., 2; nothing at 1.5.
COUNTS = {"0": 150, "0.5": 100, "1": 20, "2": 3}
GUESS = "Guessing (median)"


def train_counts(median: float = 0.5) -> dict[str, Any]:
    return {"minimum": 0.0, "step": 0.5, "images": 273, "median": median, "values": COUNTS, "levels": {}}


@pytest.fixture
def plan() -> list[Entry]:
    return make_plan(["A", "Z"], shots=[0], seeds=[0, 1], learn_nothing=["Z"])


@pytest.fixture
def rows(tmp_path: Path, plan: list[Entry]) -> pd.DataFrame:
    """Two methods on two seeds of 40 images; that which learns nothing has wrong counts of its own."""
    random, records = np.random.default_rng(0), []
    for run in plan:
        targets = random.choice([0, 0.4, 1, 1.5, 2], 40)
        values = targets + random.normal(size=40)
        record = write_run(tmp_path, run, {"test_mae": 1.0}, list(zip(targets, values, strict=True)))
        own = train_counts() if run["trains"] else {**train_counts(), "values": {"0": 1}}
        (record["folder"] / "train_counts.json").write_text(json.dumps(own), encoding="utf-8")
        records.append(record)
    return results_frame(plan, records, ["test_mae"])


def by_hand(frame: pd.DataFrame, group: str, value: float | None = None) -> tuple[int, float]:
    """The images and the error of a group, by a loop."""
    errors = []
    for row in frame.to_dict("records"):
        nearest = min(np.arange(0, 2.5, 0.5), key=lambda number: abs(number - row["target"]))
        number = COUNTS.get(f"{nearest:g}", 0)
        own = "many" if number > 100 else "few" if number < 20 else "medium"
        if own == group:
            errors.append(abs((row["value"] if value is None else value) - row["target"]))
    return len(errors), float(np.mean(errors))


def test_errors_by_training_images_are_those_of_a_loop(rows: pd.DataFrame) -> None:
    found = errors_by_count(rows, 0)
    assert set(found["method"]) == {"A", "Z", GUESS}
    for row in found.to_dict("records"):
        method, folder = (
            row["method"],
            rows[(rows["method"] == row["method"]) & (rows["seed"] == row["seed"])]["folder"],
        )
        if method == GUESS:
            folder = rows[(rows["method"] == "A") & (rows["seed"] == row["seed"])]["folder"]
        frame = pd.read_csv(folder.iloc[0] / "test_predictions.csv")
        expected = by_hand(frame, row["group"], 0.5 if method == GUESS else None)
        assert (row["images"], row["value"]) == (expected[0], pytest.approx(expected[1], abs=1e-6))


def test_curves_are_shares_of_small_errors(rows: pd.DataFrame) -> None:
    found = score_curves(rows, 0)
    assert found["tolerance"].min() == 0
    for (method, seed), curve in found.groupby(["method", "seed"]):
        folder = rows[(rows["method"] == ("A" if method == GUESS else method)) & (rows["seed"] == seed)]["folder"].iloc[
            0
        ]
        frame = pd.read_csv(folder / "test_predictions.csv").astype("float32", errors="ignore")
        value = np.float32(0.5) if method == GUESS else frame["value"].astype("float32")
        errors = (value - frame["target"].astype("float32")).abs()
        expected = [(errors <= np.float32(t)).mean() for t in curve["tolerance"]]
        assert curve["value"].tolist() == pytest.approx(expected)
    assert found[found["method"] != GUESS].groupby("tolerance")["value"].mean().iloc[-1] >= 0.95


def test_the_report_has_both(rows: pd.DataFrame, plan: list[Entry], tmp_path: Path) -> None:
    records = rows.drop_duplicates("folder").to_dict("records")
    made = [{**record, "metrics": {"test_mae": 1.0}, "seconds": 1.0} for record in records]
    report = write_report(plan, made, tmp_path / "report", Request("T", "x", metrics=["test_mae"]))
    page = report.read_text(encoding="utf-8")
    assert "| Method | Many (more than 100; " in page
    assert "Medium (20 to 100; " in page
    assert "| Method | CS@0.5 | CS@1 |" in page
    tables = report.parent / "tables"
    table = pd.read_csv(tables / "counting-error-by-count.csv")
    expected = errors_by_count(rows, 0).query("method == 'A' and group == 'few'")["value"]
    row = table[(table["method"] == "A") & table["column"].str.startswith("Few")].iloc[0]
    assert (row["mean"], row["std"], row["n"]) == (pytest.approx(expected.mean()), pytest.approx(expected.std()), 2)
    assert pd.isna(table[table["method"] == GUESS]["rank"]).all()
    assert (report.parent / "plots" / "counting-cumulative-score.png").read_bytes().startswith(b"\x89PNG")
    assert r"\textbf" in (tables / "counting-cumulative-score.tex").read_text(encoding="utf-8")


def test_runs_of_earlier_versions_have_curves_and_no_groups(tmp_path: Path, plan: list[Entry]) -> None:
    records = [write_run(tmp_path, run, {"test_mae": 1.0}, [(0, 0), (2, 1)]) for run in plan]
    rows = results_frame(plan, records, ["test_mae"])
    assert errors_by_count(rows, 0).empty
    assert set(score_curves(rows, 0)["method"]) == {"A", "Z"}


@pytest.mark.parametrize("text", ["{", "{}", '{"minimum": 0, "step": 0, "median": 0, "values": {"1": 2}}'])
def test_counts_that_can_not_be_read_are_named(rows: pd.DataFrame, text: str) -> None:
    path = rows["folder"].iloc[0] / "train_counts.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(
        DataError, match=r"train_counts.json, the counts of training images, can't be read .* delete it"
    ):
        errors_by_count(rows, 0)
