"""`numclip sweep`: trials run by workers, what they leave, and what is refused."""

import json
import os
import signal
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from numclip_lightning.cli import main
from support.command import config_of, failure, metrics_of, rows_of
from support.numclip_process import PATIENCE, numclip_process, wait_until
from support.places import REPOSITORY

SMALL = (
    "--data.num_train=16", "--data.num_val=8", "--data.num_test=8", "--data.num_workers=0", "--trainer.max_epochs=2",
)  # fmt: skip
RATE = "model.learning_rates.head"
# A grid: what comes first is known.
SPACE: dict[str, Any] = {
    "method": "grid",
    "metric": {"name": "val_mae", "goal": "minimize"},
    # The second backbone is nowhere.
    "parameters": {RATE: {"values": [0.01, 1e-6]}, "model.backbone": {"values": ["mini", "local-dir:nowhere"]}},
    "command": ["${env}", "numclip", "fit", "--config", "configs/counting.yaml", "--trainer.max_epochs=9", "${args}"],
}


def words(folder: Path, *more: str, **changes: Any) -> list[str]:
    """Write a space, and return the words of its sweep."""
    file = folder / "space.yaml"
    file.write_text(yaml.safe_dump({**SPACE, **changes}, sort_keys=False), encoding="utf-8")
    return ["sweep", "--config=configs/counting.yaml", f"--space={file}", f"--output={folder / 'out'}", *SMALL, *more]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep of four trials, two of which have failed."""
    folder = tmp_path_factory.mktemp("sweep")
    with chdir(REPOSITORY):
        assert main([*words(folder), "--workers=2", "--test_after_fit=true"]) == 0
    return folder / "out"


def facts_of(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    return facts


@pytest.mark.slow
def test_failed_trials_are_counted_and_hide_no_others(ended: Path) -> None:
    trials = facts_of(ended)["trials"]
    states = {(trial["values"][RATE], trial["values"]["model.backbone"]): trial["state"] for trial in trials}
    assert states == {
        (rate, backbone): "finished" if backbone == "mini" else "failed"
        for rate in (0.01, 1e-6)
        for backbone in ("mini", "local-dir:nowhere")
    }
    assert all("nowhere" in trial["error"] for trial in trials if trial["state"] == "failed")
    page = (ended / "sweep.html").read_text(encoding="utf-8")
    assert "4 trials: 2 finished, 2 failed" in page


@pytest.mark.slow
def test_the_values_are_those_of_the_best_epochs(ended: Path) -> None:
    for trial in facts_of(ended)["trials"]:
        if trial["state"] == "finished":
            run = ended / trial["folder"]
            logged = [float(row["val_mae"]) for row in rows_of(run / "metrics.csv") if row["val_mae"]]
            assert trial["value"] == metrics_of(run)["val_mae"] == pytest.approx(min(logged))
            assert list(trial["validations"].values()) == pytest.approx(logged)
            assert config_of(run)["model"]["init_args"]["learning_rates"]["head"] == trial["values"][RATE]


@pytest.mark.slow
def test_no_trial_looks_at_test_images(ended: Path) -> None:
    assert not list(ended.rglob("test_predictions.csv"))
    assert not [run for run in ended.glob("trials/*/metrics.json") if "test_" in run.read_text(encoding="utf-8")]
    assert not list(ended.rglob("*.ckpt"))


@pytest.mark.slow
def test_the_best_configuration_gives_what_the_trial_gave(ended: Path, tmp_path: Path) -> None:
    facts = facts_of(ended)
    values = {trial["number"]: trial["value"] for trial in facts["trials"] if trial["state"] == "finished"}
    assert facts["best"] == min(values, key=values.__getitem__)
    flags = ["--test_after_fit=true", "--trainer.log_every_n_steps=1", f"--trainer.default_root_dir={tmp_path}"]
    assert main(["fit", "--config", str(ended / "best.yaml"), *flags]) == 0
    (run,) = tmp_path.iterdir()
    metrics = metrics_of(run)
    assert metrics["val_mae"] == pytest.approx(values[facts["best"]], abs=1e-5)
    assert "test_mae" in metrics


@pytest.mark.slow
def test_a_sweep_that_has_ended_runs_nothing_again(ended: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file: file.stat().st_mtime_ns for file in ended.glob("trials/*/result.json")}
    assert main([*words(ended.parent), "--test_after_fit=true"]) == 0
    assert {file: file.stat().st_mtime_ns for file in ended.glob("trials/*/result.json")} == before
    shown = capsys.readouterr()
    assert f"numclip fit --config {ended / 'best.yaml'}" in shown.out
    assert "not taken from its command at W&B: --trainer.max_epochs=9" in shown.err


@pytest.mark.slow
def test_a_sweep_of_failures_ends_with_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backbones = {"model.backbone": {"values": [f"local-dir:nowhere{number}" for number in range(9)]}}
    assert main(words(tmp_path, parameters=backbones)) == 1
    assert "the first trials have all failed" in capsys.readouterr().err
    trials = facts_of(tmp_path / "out")["trials"]
    assert [trial["state"] for trial in trials] == ["failed"] * 5
    assert not (tmp_path / "out" / "best.yaml").exists()


@pytest.mark.parametrize(
    ("more", "changes", "message"),
    [
        ([], {"metric": {"name": "test_mae"}}, "test_mae is of test images"),
        (["--data.nonsense=1"], {}, "nonsense"),
        (["--model.backbone=mini"], {}, "parameters: model.backbone: --model.backbone=mini is given as well"),
        (["--trials=0"], {}, 'Parser key "trials"'),
        (["--workers=x"], {}, 'Parser key "workers"'),
        (["--seed", "-1"], {}, 'Parser key "seed"'),
    ],
)  # fmt: skip
def test_mistakes_are_said_before_the_first_trial(
    more: list[str], changes: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failure(*words(tmp_path, *more, **changes)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_a_configuration_the_one_of_the_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word for word in words(tmp_path) if not word.startswith("--config")]
    assert failure(*given) == 2
    assert "give --config, a complete configuration" in (shown := capsys.readouterr().err)
    assert "its command at W&B has --config configs/counting.yaml" in shown


def test_two_sweeps_are_not_at_work_in_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    # A process of its own would have it.
    with FileLock(tmp_path / "out" / "sweep.lock", is_singleton=False):
        assert failure(*words(tmp_path)) == 2
    assert "another sweep is at work in" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_that_is_killed_goes_on(number: int, tmp_path: Path) -> None:
    go = tmp_path / "go"
    changes: dict[str, Any] = {
        "method": "random",
        "parameters": {RATE: {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1}},
    }
    slow = ["--model=support.benchmark_victim.Slow", f"--model.wait_for={go}"]
    given = words(tmp_path, *slow, "--trials=2", **changes)
    with numclip_process(given) as process:
        wait_until(Path(f"{go}.started").exists)
        os.kill(process.pid, number)
        _, shown = process.communicate(timeout=PATIENCE)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert "Traceback" not in shown

    go.touch()
    assert main(given) == 0
    trials = facts_of(tmp_path / "out")["trials"]
    assert [trial["state"] for trial in trials] == ["killed", "finished", "finished"]
    assert trials[0]["repeated_as"] == 1
    assert trials[0]["values"] == trials[1]["values"] != trials[2]["values"]
