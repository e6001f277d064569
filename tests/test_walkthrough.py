"""docs/add_a_method.md does what it says: its blocks are written to files and its commands run."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from numclip_lightning.cli import main
from support.command import config_of, metrics_of
from support.pages import blocks, commands
from support.places import REPOSITORY

PAGE = (REPOSITORY / "docs" / "add_a_method.md").read_text(encoding="utf-8")
SMALL = {
    "fit": [
        "--trainer.max_epochs=1",
        "--data.num_train=640",
        "--data.num_val=64",
        "--data.num_test=100",
        "--data.num_workers=0",
    ],
    "benchmark": ["--processes=2", "--args.data.num_val=64", "--args.data.num_test=400"],
}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's files and the shipped configurations, where Python looks for modules."""
    for name, text in [*blocks(PAGE, "python"), *blocks(PAGE, "yaml")]:
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "prior_clip", None)
    del sys.modules["prior_clip"]
    return tmp_path


@pytest.mark.slow
def test_the_page_can_be_followed(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = commands(PAGE, "sh")
    assert [subcommand for subcommand, *_ in given] == ["fit", "benchmark"]
    for subcommand, *words in given:
        assert main([subcommand, *words, *SMALL[subcommand]]) == 0

    (run,) = workspace.glob("runs/20*")
    assert config_of(run)["model"]["class_path"] == "prior_clip.PriorCLIP"
    again = shlex.split(capsys.readouterr().out.partition("To test it again:")[2].splitlines()[1])
    assert main([*again[again.index("test") :], "--trainer.default_root_dir=again"]) == 0
    (second,) = workspace.glob("again/*")
    assert metrics_of(second)["test_mae"] == metrics_of(run)["test_mae"]

    report = (workspace / "runs/benchmarks/reports/prior_benchmark/report.md").read_text(encoding="utf-8")
    table = report.partition("Mean absolute error")[2].partition("Mean ")[0]
    found = {name: float(mae) for name, mae in re.findall(r"^\| (PriorCLIP|Zero-shot) \| \D*([\d.]+)", table, re.M)}
    assert "Against PriorCLIP, 1 of 1 comparisons tested" in report
    # It can only help to know how common the levels are, if there are enough images.
    assert found["PriorCLIP"] < found["Zero-shot"]
