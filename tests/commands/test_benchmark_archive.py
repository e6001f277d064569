"""`--archive` of a benchmark: its runs in one file, reported and continued where they were not made."""

import io
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from numclip_lightning.cli import main
from numclip_lightning.errors import DataError
from numclip_lightning.runs.archive import unpack_runs
from support.command import failure
from support.places import REPOSITORY
from support.tiny_benchmark import ZERO_SHOT, Write, records, times, write_config

LEVELS: dict[str, Any] = {**ZERO_SHOT, "args": {"model.decode": "median"}}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a benchmark's configuration into the folder of the test."""
    monkeypatch.chdir(REPOSITORY)
    return partial(write_config, tmp_path)


def tables(root: Path) -> dict[str, str]:
    """Return the tables of a report."""
    return {file.name: file.read_text(encoding="utf-8") for file in (root / "reports/try/tables").glob("*.csv")}


def test_an_archive_is_reported_and_gone_on_with_elsewhere(write: Write, tmp_path: Path) -> None:
    archive, other = tmp_path / "kept" / "runs.tar.xz", tmp_path / "other"
    words = ["benchmark", "--config", str(write({"Zero": ZERO_SHOT})), f"--archive={archive}"]
    assert main(words) == 0
    assert "--archive" not in (tmp_path / "runs/reports/try/report.md").read_text(encoding="utf-8")
    before, made = archive.read_bytes(), tables(tmp_path / "runs")
    assert made
    assert main([*words, "--report_only=true"]) == 0
    archive.unlink()
    assert main([*words, "--report_only=true"]) == 0
    assert archive.read_bytes() == before, "the same runs give the same bytes"

    # A machine that has nothing but the file.
    elsewhere = [*words, f"--root={other}"]
    assert main([*elsewhere, "--report_only=true"]) == 0
    assert tables(other) == made
    (file,) = other.rglob("test_predictions.csv")
    (own,) = (tmp_path / "runs").rglob("test_predictions.csv")
    kept, whole = pd.read_csv(file), pd.read_csv(own)
    assert list(kept) == [name for name in whole if not name.startswith(("q(", "p("))]
    assert {"path", "target", "value", "lower", "upper"} <= set(kept)
    pd.testing.assert_frame_equal(kept, whole[list(kept)], check_exact=True)
    assert not list(other.rglob("*.ckpt"))

    # A row of one's own is the only one that is run, and is in the file afterwards.
    (result,) = other.rglob("result.json")
    stamp = result.stat().st_mtime_ns
    write({"Zero": ZERO_SHOT, "Mine": LEVELS})
    assert main(elsewhere) == 0
    assert result.stat().st_mtime_ns == stamp
    third = tmp_path / "third"
    assert unpack_runs(archive, third) == 2
    assert unpack_runs(archive, third) == 0
    assert {file.parent.parent.name for file in third.rglob("result.json")} == {"zero", "mine"}


def test_a_failed_run_is_replaced_and_a_finished_one_is_left(write: Write, tmp_path: Path) -> None:
    archive = tmp_path / "runs.tar.xz"
    words = ["benchmark", "--config", str(write({"Zero": ZERO_SHOT})), f"--archive={archive}", "--report_only=true"]
    assert main(words[:-1]) == 0
    (record,) = times(tmp_path)
    whole = record.read_text(encoding="utf-8")
    record.write_text(whole.replace('"finished"', '"failed"'), encoding="utf-8")
    assert main(words) == 0
    assert records(tmp_path)["Zero 0"]["status"] == "finished"
    changed = whole.replace('"seconds": ', '"seconds": 1')
    record.write_text(changed, encoding="utf-8")
    assert main(words) == 0
    assert record.read_text(encoding="utf-8") == changed


def test_with_ensembles_the_probabilities_are_kept(write: Write, tmp_path: Path) -> None:
    archive, other = tmp_path / "runs.tar.xz", tmp_path / "other"
    config = write({"Zero": ZERO_SHOT, "Median": LEVELS}, ensembles={"Both": {"of": ["Zero", "Median"]}})
    words = ["benchmark", "--config", str(config), f"--archive={archive}"]
    assert main(words) == 0
    assert main([*words, f"--root={other}", "--report_only=true"]) == 0
    assert tables(other) == tables(tmp_path / "runs")
    results = pd.read_csv(other / "reports/try/results.csv")
    assert set(results.loc[results["method"] == "Both", "status"]) == {"finished"}


def foreign(file: Path, name: str, content: bytes = b"{}") -> Path:
    """Write an archive with one file in it."""
    with tarfile.open(file, "w:xz") as whole:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        whole.addfile(entry, io.BytesIO(content))
    return file


@pytest.mark.parametrize("name", ["../up/result.json", "/up/result.json", "result.json", "a/b/script.py"])
def test_what_is_no_archive_of_runs_is_refused(name: str, tmp_path: Path) -> None:
    file = foreign(tmp_path / "strange.tar.xz", name)
    with pytest.raises(DataError, match=r"has '.*', which is no file of a run; it is not from a benchmark"):
        unpack_runs(file, tmp_path / "root")
    assert not (tmp_path / "root").exists()
    assert not (tmp_path / "up").exists()


def test_a_broken_archive_and_another_ending_are_named_before_anything_runs(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(write({"Zero": ZERO_SHOT}))
    whole = foreign(tmp_path / "whole.tar.xz", "counting/zero/one/config.yaml", bytes(range(256)) * 99).read_bytes()
    broken = tmp_path / "broken.tar.xz"
    for content in (b"not xz", whole[: len(whole) // 2], b""):
        broken.write_bytes(content)
        assert failure("benchmark", "--config", config, f"--archive={broken}") == 2
        assert f"archive {broken} can't be read" in capsys.readouterr().err
        assert broken.read_bytes() == content
    assert failure("benchmark", "--config", config, "--archive=runs.zip") == 2
    assert "archive is 'runs.zip'; give a file that ends with .tar.xz" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
