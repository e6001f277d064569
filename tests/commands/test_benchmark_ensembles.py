"""Ensembles in a benchmark: rows of its tables, joined from the runs of its methods, and the coverage beside them."""

from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from numclip_lightning.cli import main
from support.command import failure
from support.places import REPOSITORY
from support.tiny_benchmark import SMALL, ZERO_SHOT, Write, write_config

PROBE = {"config": "configs/methods/linear_probe.yaml", "trains": True}
DATA = {"counting": {"config": "configs/counting.yaml", "args": {**SMALL, "data.num_val": 12}}}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(REPOSITORY)
    return partial(write_config, tmp_path, {"Zero": ZERO_SHOT, "Probe": PROBE}, datasets=DATA)


@pytest.mark.slow
def test_a_row_is_the_mean_of_its_methods(write: Write, tmp_path: Path) -> None:
    ensembles = {"Both": {"of": ["Zero", "Probe"]}}
    assert main(["benchmark", "--config", str(write(ensembles=ensembles))]) == 0
    folder = tmp_path / "runs" / "reports" / "try"
    results = pd.read_csv(folder / "results.csv").set_index(["method", "metric"])
    files = {
        path.parent.parent.name: pd.read_csv(path) for path in tmp_path.glob("runs/counting/*/*/test_predictions.csv")
    }
    values = (files["zero"]["value"] + files["probe"]["value"]) / 2
    expected = (values - files["zero"]["target"]).abs().mean()
    assert results.loc[("Both", "test_mae"), "value"] == pytest.approx(expected, rel=1e-5)
    assert results.loc[("Both", "test_mae"), "status"] == "finished"
    report = (folder / "report.md").read_text()
    # All have intervals of 12 validation images, also a method that learns nothing, and what both say together.
    coverage = pd.read_csv(folder / "tables" / "counting-coverage.csv")
    assert set(coverage["method"]) == {"Zero", "Probe", "Both"}
    coverage = coverage[coverage["method"] == "Probe"]
    tested = files["probe"]
    inside = (tested["lower"] <= tested["target"]) & (tested["target"] <= tested["upper"])
    (row,) = coverage[coverage["by"] == "all images"].to_dict("records")
    assert row["coverage"] == inside.mean()
    assert f"| Probe | {100 * inside.mean():.1f} % |" in report


@pytest.mark.parametrize(
    ("ensemble", "message"),
    [
        ({"X": {"of": ["Zero", "Prob"]}}, "did you mean 'Probe'"),
        ({"X": {"of": ["Zero"]}}, "'X' joins Zero; name two methods or more"),
        ({"Zero": {"of": ["Zero", "Probe"]}}, "'Zero' has the name of a method"),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    ensemble: dict[str, object], message: str, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failure("benchmark", "--config", str(write(ensembles=ensemble))) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
