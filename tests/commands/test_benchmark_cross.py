"""A benchmark whose runs are also tested on other images: the table, resuming, and what is not there any more."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from numclip_lightning.cli import main
from support.places import REPOSITORY
from support.tiny_benchmark import SMALL, ZERO_SHOT, write_config


@pytest.mark.slow
def test_finished_runs_are_tested_on_other_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    tests = {
        "more scenes": {"args": {"data.num_test": 12}},
        "others": {"config": "configs/counting.yaml", "args": {**SMALL, "data.num_test": 5}},
        "away": {"config": "configs/counting.yaml", "needs": "nowhere"},
    }
    datasets = {"counting": {"config": "configs/counting.yaml", "args": SMALL, "tests": tests}}
    methods = {"Probe": {"config": "configs/methods/linear_probe.yaml"}, "Zero": ZERO_SHOT}
    file = write_config(tmp_path, methods, datasets=datasets)
    words = ["benchmark", "--config", str(file), "--args.data.augment=false"]
    assert main(words) == 0
    assert "counting is not tested on away: nowhere is not here" in capsys.readouterr().err
    runs = tmp_path / "runs" / "counting"
    found = sorted(runs.glob("*/*/tests/*/result.json"))
    assert [path.parent.name.rpartition("-")[0] for path in found] == ["more-scenes", "others"] * 2
    assert not list(runs.rglob("*.ckpt")), "forgotten when the last test has finished"

    report = tmp_path / "runs" / "reports" / "try"
    table = pd.read_csv(report / "tables" / "counting-tested-elsewhere-test_mae.csv").set_index(["method", "column"])
    for path, size in zip(found, [12, 5] * 2, strict=True):
        record, rows = json.loads(path.read_text(encoding="utf-8")), pd.read_csv(path.parent / "test_predictions.csv")
        assert len(rows) == size
        place = f"tested on {record['tested_on']}"
        error = (rows["value"] - rows["target"]).abs().mean()
        assert table.loc[(record["method"], place), "mean"] == pytest.approx(error, abs=1e-4)
        counts = json.loads((path.parents[2] / "train_counts.json").read_text(encoding="utf-8"))
        guess = np.abs(rows["target"] - counts["median"]).mean()
        assert table.loc[("Guessing (median)", place), "mean"] == pytest.approx(guess)
    text = (report / "report.md").read_text(encoding="utf-8")
    assert "### Trained on counting (all images)" in text
    assert "| Method | tested on counting | tested on more scenes | tested on others |" in text

    # One test is lost: that of the method without a checkpoint is repeated, the other one can't be.
    before = {path: path.stat().st_mtime_ns for path in runs.glob("*/*/result.json")}
    for path in found:
        if path.parent.name.startswith("others"):
            shutil.rmtree(path.parent)
    assert main(words) == 1
    assert before == {path: path.stat().st_mtime_ns for path in runs.glob("*/*/result.json")}
    text = (report / "report.md").read_text(encoding="utf-8")
    assert "1 of 4 tests failed:" in text
    assert "was not kept, so that it can't be tested on other images; delete this folder" in text
