"""Rows of other programs in a benchmark: their predictions stand in every table, and are refused early."""

from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from numclip_lightning.cli import main
from support.command import failure
from support.places import REPOSITORY
from support.tiny_benchmark import ZERO_SHOT, Write, write_config


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(REPOSITORY)
    return partial(write_config, tmp_path)


def gemini(folder: Path, **changes: object) -> dict[str, object]:
    return {"Gemini": {"predictions": str(folder / "gemini.csv"), **changes}}


@pytest.mark.slow
def test_predictions_of_others_are_a_row_beside_ours(write: Write, tmp_path: Path) -> None:
    own = {"Zero": ZERO_SHOT}
    assert main(["benchmark", "--config", str(write(own))]) == 0
    (file,) = tmp_path.glob("runs/counting/*/*/test_predictions.csv")
    known = pd.read_csv(file)
    # In another order, with an image of another list.
    theirs = pd.DataFrame({"path": known["path"], "value": known["target"] + 2})[::-1]
    pd.concat([theirs, pd.DataFrame({"path": ["more.png"], "value": [0]})]).to_csv(tmp_path / "gemini.csv", index=False)
    config = write({**own, **gemini(tmp_path)}, metrics=["test_mae", "test_acc", "test_rps"], compare_to="Gemini")
    assert main(["benchmark", "--config", str(config)]) == 0
    folder = tmp_path / "runs" / "reports" / "try"
    results = pd.read_csv(folder / "results.csv").set_index(["method", "metric"])["value"]
    assert results["Gemini", "test_mae"] == 2
    assert results[["Gemini", "Zero"]].notna().all()
    for table in ("test_mae", "test_acc", "error-by-value"):
        assert "Gemini" in set(pd.read_csv(folder / "tables" / f"counting-{table}.csv")["method"])
    tests = pd.read_csv(folder / "tables" / "counting-test_mae-image-tests.csv").set_index("method")
    assert tests.loc["Zero", "n"] == len(known)
    # A file that lacks an image fails alone, by name.
    theirs[1:].to_csv(tmp_path / "gemini.csv", index=False)
    assert main(["benchmark", "--config", str(config)]) == 1
    assert "has no row for 1 of 8 test images" in (folder / "report.md").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "gemini.csv can't be read"),
        ({"config": "configs/methods/coop.yaml"}, "remove its config, args, trains and trials"),
        ({"predictions": {"count": "x.csv"}}, "did you mean 'counting'"),
        ({"predictions": None, "columns": {"value": "age"}}, "but no predictions; name their file"),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    changes: dict[str, object], message: str, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write({"Zero": ZERO_SHOT, **gemini(tmp_path, **changes)})
    assert failure("benchmark", "--config", str(config)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_predictions_alone_have_no_test_list(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert failure("benchmark", "--config", str(write(gemini(tmp_path)))) == 2
    assert "no run that knows the test images" in capsys.readouterr().err
