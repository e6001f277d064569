"""`numclip benchmark`: what is kept and repeated, the page, and mistakes before the first run."""

import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from numclip_lightning.cli import main
from support.command import failure
from support.places import REPOSITORY
from support.tiny_benchmark import SMALL, ZERO_SHOT, Write, records, times, write_config


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a benchmark's configuration into the folder of the test."""
    monkeypatch.chdir(REPOSITORY)
    return partial(write_config, tmp_path)


def test_finished_runs_are_kept_and_failed_ones_repeated(write: Write, tmp_path: Path) -> None:
    missing = str(tmp_path / "clip")
    methods = {"Zero": ZERO_SHOT, "later": {**ZERO_SHOT, "args": {"model.backbone": f"local-dir:{missing}"}}}
    words = ["benchmark", "--config", str(write(methods))]
    assert main(words) == 1
    before = times(tmp_path)
    assert records(tmp_path)["later 0"]["status"] == "failed"
    mini = REPOSITORY / "src" / "numclip_lightning" / "models" / "mini"
    Path(missing).symlink_to(mini, target_is_directory=True)

    assert main(words) == 0
    after = times(tmp_path)
    assert after.keys() == before.keys()
    assert [file.parent.parent.name for file in after if after[file] == before[file]] == ["zero"]
    assert main([*words, "--report_only", "true"]) == 0
    assert times(tmp_path) == after
    report = (tmp_path / "runs" / "reports" / "try" / "report.md").read_text(encoding="utf-8")
    assert f"```sh\nnumclip {shlex.join(words)}\n```" in report, "what a reader repeats"


def test_a_page_takes_a_whole_report_or_what_there_is_if_asked(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("Words.\n<!-- report -->\nall of it\n<!-- end of report -->\n", encoding="utf-8")
    broken = {"args": {"data.num_train": 0}}
    words = [
        "benchmark",
        "--config",
        str(write({"Zero": ZERO_SHOT, "broken": broken}, on_mistakes="run")),
        "--page",
        str(page),
    ]
    assert main(words) == 1
    assert "all of it" in page.read_text(encoding="utf-8")
    assert f"{page} is left as it is until all runs have finished" in capsys.readouterr().err
    assert main([*words, "--report_only=true"]) == 1
    text = page.read_text(encoding="utf-8")
    assert text.startswith("Words.\n")
    assert "1 of 2 runs failed" in text
    assert f"```sh\nnumclip {shlex.join(words[:3])}\n```" in text, "what a reader repeats, who has no such page"
    words = ["benchmark", "--config", str(write({"Zero": ZERO_SHOT})), f"--page={page}"]
    assert main(words) == 0
    assert "runs failed" not in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_record_that_can_not_be_used_counts_as_failed_and_is_repeated(write: Write, tmp_path: Path) -> None:
    words = ["benchmark", "--config", str(write({"Zero": ZERO_SHOT}, seeds=[0, 1]))]
    assert main(words) == 0
    broken, robbed = sorted(times(tmp_path))
    broken.write_text("{", encoding="utf-8")
    (robbed.parent / "test_predictions.csv").unlink()
    before = times(tmp_path)
    report = tmp_path / "runs" / "reports" / "try" / "report.md"
    assert main([*words, "--report_only=true"]) == 1
    text = report.read_text(encoding="utf-8")
    assert "| counting | 2 | 0 | 2 | 0 |" in text
    assert "result.json can't be read" in text
    assert "test_predictions.csv is gone from" in text

    assert main(words) == 0
    after = times(tmp_path)
    assert not {file for file in after if after[file] == before[file]}
    assert "| counting | 2 | 2 | 0 | 0 |" in report.read_text(encoding="utf-8")


def test_without_any_dataset_nothing_is_run(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    away = {"config": "configs/counting.yaml", "needs": "nowhere"}
    assert main(["benchmark", "--config", str(write({"Zero": ZERO_SHOT}, datasets={"away": away}))]) == 2
    assert (
        "none of the datasets is here: away needs nowhere; fetch one, or correct its needs" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--compare_to=Zeor"], "compare_to is 'Zeor'; choose one of 'Zero'"),
        (["--metrics=[test_mea]"], "test_mea"),
        (["--procesess=2"], "procesess"),
        (["--proc=2"], "a benchmark has no 'proc'; did you mean 'processes'? (--proc)"),
        (["--seeds=[]"], "numclip: error: seeds is empty; name at least one."),
    ],
)
def test_a_wrong_word_is_refused_before_anything_runs(
    words: list[str], message: str, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failure("benchmark", "--config", str(write({"Zero": ZERO_SHOT})), *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) < 6, "not buried under the names of all flags"
    assert not (tmp_path / "runs").exists()


def test_a_dataset_that_is_not_here_is_named(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = {"config": "configs/counting.yaml", "args": SMALL}
    away = {**here, "needs": str(tmp_path / "nowhere")}
    file = write({"Zero": ZERO_SHOT}, datasets={"counting": here, "away": away})
    # Nothing is run, so that there is nothing to report.
    assert main(["benchmark", "--config", str(file), "--report_only=true"]) == 2
    assert f"away is left out: {tmp_path / 'nowhere'} is not here" in capsys.readouterr().err


def test_a_missing_package_is_named_with_what_installs_it() -> None:
    # In a process of its own: modules imported a second time would be other classes to the tests after this one.
    script = "import sys; sys.modules['pandas'] = None; from numclip_lightning.cli import main; "
    script += "sys.exit(main(['benchmark']))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert "needs pandas; install it with pip install 'numclip-lightning[benchmark]'" in ended.stderr
