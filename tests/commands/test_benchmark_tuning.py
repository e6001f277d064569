"""`numclip benchmark` with trials: what is chosen, from which images, and what the page says of it."""

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from numclip_lightning.cli import main
from support.command import failure
from support.places import REPOSITORY
from support.tiny_benchmark import ZERO_SHOT, Write, records, write_config

CORAL: dict[str, Any] = {
    "config": "configs/methods/coral.yaml",
    "trials": {"fast": {"model.learning_rates.head": 0.1}, "slow": {"model.learning_rates.head": 1e-6}},
}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a benchmark's configuration into the folder of the test."""
    monkeypatch.chdir(REPOSITORY)
    return partial(write_config, tmp_path)


def trial_folders(root: Path) -> dict[str, Path]:
    """Return the folder of each trial."""
    found = root.glob("runs/counting/*/*/result.json")
    read = {file.parent: json.loads(file.read_text(encoding="utf-8")) for file in found}
    return {record["trial"]: folder for folder, record in read.items() if "trial" in record}


@pytest.mark.slow
def test_the_best_trial_on_validation_images_is_run_with_the_seeds(write: Write, tmp_path: Path) -> None:
    words = ["benchmark", "--config", str(write({"CORAL": CORAL, "Zero": ZERO_SHOT}, tuning_seed=7))]
    assert main(words) == 0
    trials = trial_folders(tmp_path)
    errors = {name: json.loads((folder / "metrics.json").read_text())["val_mae"] for name, folder in trials.items()}
    # Of equal ones the first, as the benchmark names them.
    best = min(CORAL["trials"], key=errors.__getitem__)
    assert not [folder for folder in trials.values() if (folder / "test_predictions.csv").exists()]
    assert all("test_mae" not in (folder / "metrics.json").read_text() for folder in trials.values())

    (run,) = [record for name, record in records(tmp_path).items() if name == "CORAL 0"]
    assert f"--model.learning_rates.head={CORAL['trials'][best]['model.learning_rates.head']}" in run["command"]
    page = (tmp_path / "runs" / "reports" / "try" / "report.md").read_text(encoding="utf-8")
    shown = " / ".join(f"**{errors[name]:.2f}**" if name == best else f"{errors[name]:.2f}" for name in CORAL["trials"])
    assert f"| CORAL | fast / slow | {shown} |" in page
    assert "2 sets of arguments to choose from, fitted once with seed 7" in page
    with (tmp_path / "runs" / "reports" / "try" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["trial"]: float(row["val_mae"]) for row in rows} == pytest.approx(errors)
    assert [row["trial"] for row in rows if row["chosen"] == "True"] == [best]

    # A trial that is gone is fitted again; until then nothing is chosen, and the finished run is no longer shown.
    (trials["slow"] / "result.json").unlink()
    assert main([*words, "--report_only=true"]) == 1
    assert "| counting | 2 | 1 | 0 | 1 |" in (tmp_path / "runs" / "reports" / "try" / "report.md").read_text()


@pytest.mark.slow
def test_a_failed_trial_is_named_and_never_chosen(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    never = {"model.backbone": "local-dir:nowhere"}
    methods: dict[str, Any] = {
        "CORAL": {**CORAL, "trials": {"broken": never, "fast": CORAL["trials"]["fast"]}},
        "Never": {**CORAL, "trials": {"one": never, "two": {**never, "model.learning_rates.head": 1}}},
    }
    assert main(["benchmark", "--config", str(write(methods))]) == 1
    assert "counting, Never, fold 0, all images, seed 0 is not run: no trial of it has finished" in (
        capsys.readouterr().err
    )
    page = (tmp_path / "runs" / "reports" / "try" / "report.md").read_text(encoding="utf-8")
    assert "| counting | 2 | 1 | 0 | 1 |" in page
    assert "| CORAL | broken / fast | none / **" in page
    assert "| Never | one / two | none / none |" in page
    assert "3 of 4 trials failed:" in page
    assert "CORAL, fold 0, all images, seed 1, trial broken: `" in page


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuning_seed": 0}, "tuning_seed is 0; give a number of 0 or more that is none of seeds, [0]"),
        ({"methods": {"A": {**CORAL, "trials": {"one": {}}}}}, "trials of 'A' has one entry"),
        ({"methods": {"A": {**CORAL, "trains": False}}}, "'A' has trials, but learns nothing"),
        (
            {"methods": {"A": {"trials": {"x": {"data.seed": 1}, "y": {}}}}},
            "trial 'x' of 'A': data.seed is set for each run; give seeds instead",
        ),
    ],
)
def test_wrong_trials_are_refused(
    changes: dict[str, Any], message: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = dict(changes)
    methods = changes.pop("methods", {"CORAL": CORAL})
    assert failure("benchmark", "--config", str(write(methods, **changes))) == 2
    assert message in capsys.readouterr().err
