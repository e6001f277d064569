"""The history of a sweep: a page, a table and a count from its facts alone."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from numclip_lightning.report.html.sweep import write_sweep_page
from numclip_lightning.report.sweep import best_so_far, count_states, write_trials


def trial(number: int, state: str, value: float | None, **changes: Any) -> dict[str, Any]:
    values = {"rate": 10.0**-number, "kind": ["<b>", None, "[1, 2]"][number % 3], "size": 8 * number}
    course = {} if value is None else {"1": value + 1, "2": value}
    return {
        "number": number, "state": state, "value": value, "values": values, "validations": course, "seconds": 12.3,
        "repeated_as": None, "error": None, "folder": f"trials/{number:04d}", **changes,
    }  # fmt: skip


def facts_of(*trials: dict[str, Any], **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "command": "numclip sweep --space space.yaml", "space": "configs/space.yaml", "method": "bayes",
        "metric": "val_mae", "goal": "minimize", "seed": 3, "training_seed": 0, "most": len(trials),
        "parameters": {
            "rate": {"low": 1e-6, "high": 1.0, "log": True},
            "kind": {"choices": ["<b>", None, "[1, 2]"]},
            "size": {"low": 0, "high": 64, "log": False},
        },
        "constants": {"data.augment": True}, "best": 2, "importances": {}, "trials": list(trials),
    }  # fmt: skip
    return {**found, **changes}


WHOLE = facts_of(
    trial(0, "finished", 3.0),
    trial(1, "stopped early", 4.25),
    trial(2, "finished", 1.5),
    trial(3, "killed", None, repeated_as=5),
    trial(4, "failed", None, error="the training has diverged"),
    trial(5, "finished", 2.0),
    importances={"rate": 0.75, "kind": 0.25},
)


def test_the_page_says_which_is_best_and_shows_every_trial(tmp_path: Path) -> None:
    page = write_sweep_page(WHOLE, tmp_path / "sweep.html").read_text(encoding="utf-8")
    assert "Trial 2: val_mae 1.50" in page
    assert "5 trials: 3 finished, 1 stopped early, 1 failed; 1 more was killed and is repeated" in page
    assert "The best so far goes from 3.00 at trial 0 to 1.50." in page
    assert "killed, repeated as 5" in page
    assert "the training has diverged" in page
    assert "numclip sweep --space space.yaml" in page
    (table,) = re.findall(r"All trials</caption>.*?</table>", page, flags=re.DOTALL)
    assert len(re.findall(r'<th scope="row"', table)) == 6
    # Three drawings of parameters, the progress and the courses.
    assert page.count('<svg role="img"') == 5
    assert "75 %" in page
    # What a file says is text.
    assert "<b>" not in page
    assert "&lt;b&gt;" in page


def test_a_sweep_without_a_result_says_what_is_missing(tmp_path: Path) -> None:
    facts = facts_of(trial(0, "failed", None, error="no memory"), best=None)
    page = write_sweep_page(facts, tmp_path / "sweep.html").read_text(encoding="utf-8")
    assert "no trial has come to its end" in page
    assert "no memory" in page
    assert "<svg" not in page


def test_accuracies_are_shown_in_percent(tmp_path: Path) -> None:
    facts = facts_of(trial(0, "finished", 0.5), trial(1, "finished", 0.75), metric="val_acc", goal="maximize", best=1)
    page = write_sweep_page(facts, tmp_path / "sweep.html").read_text(encoding="utf-8")
    assert "Trial 1: val_acc (%) 75.00" in page
    assert best_so_far(facts) == [(0, 0.5), (1, 0.75)]


def test_the_best_so_far_never_gets_worse_and_counts_whole_trials_alone() -> None:
    assert best_so_far(WHOLE) == [(0, 3.0), (2, 1.5), (5, 1.5)]
    assert best_so_far(facts_of(goal="maximize")) == []


def test_the_table_has_a_row_for_each_trial_as_the_facts_have_it(tmp_path: Path) -> None:
    # As written and read.
    write_trials(json.loads(json.dumps(WHOLE)), tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == [str(number) for number in range(6)]
    assert [row["state"] for row in rows] == [one["state"] for one in WHOLE["trials"]]
    assert [row["val_mae"] for row in rows] == ["3.0", "4.25", "1.5", "", "", "2.0"]
    assert [float(row["rate"]) for row in rows] == pytest.approx([10.0**-number for number in range(6)])
    assert [row["kind"] for row in rows] == ["<b>", "null", "[1, 2]"] * 2
    assert rows[3]["repeated_as"] == "5"
    assert rows[4]["error"] == "the training has diverged"


def test_no_trial_at_all_is_a_table_without_rows(tmp_path: Path) -> None:
    write_trials(facts_of(best=None), tmp_path / "trials.csv")
    assert (tmp_path / "trials.csv").is_file()
    assert count_states(facts_of()) == "no trial"
