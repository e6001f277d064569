"""Runs of a sweep that were interrupted are found again; those that a signal has stopped end by it."""

import json
import os
import signal
from pathlib import Path

import pytest

from numclip_lightning import cli
from numclip_lightning.runs.in_wandb import WANDB_RUN, interrupted_fit


def make_run(root: Path, name: str, run: str, sweep: str | None, *, checkpoint: bool = True) -> str:
    """Make a run folder as a process of a run leaves it; return its last checkpoint."""
    (root / name / "checkpoints").mkdir(parents=True)
    told = {"id": run, "project": "p", "entity": "team", "sweep": sweep, "url": None}
    (root / name / WANDB_RUN).write_text(json.dumps(told), encoding="utf-8")
    last = root / name / "checkpoints" / "last.ckpt"
    if checkpoint:
        last.touch()
    return str(last)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an agent tells the process of its run."""
    monkeypatch.setenv("WANDB_RUN_ID", "mine")
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")


@pytest.mark.usefixtures("agent")
def test_the_last_process_of_the_same_run_is_found(tmp_path: Path) -> None:
    make_run(tmp_path, "20261129-100000-fit-a", "mine", "sweep")
    expected = make_run(tmp_path, "20261129-110000-fit-b", "mine", "sweep")
    # Killed before its first checkpoint.
    make_run(tmp_path, "20261129-120000-fit-c", "mine", "sweep", checkpoint=False)
    make_run(tmp_path, "20261129-130000-fit-d", "other", "sweep")
    make_run(tmp_path, "20261129-140000-fit-e", "mine", "another")
    make_run(tmp_path, "20261129-150000-fit-f", "mine", None)
    assert interrupted_fit(str(tmp_path)) == expected


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("text", ["", "[1]", '{"id": "mine"}'])
def test_a_spoilt_file_hides_no_other(tmp_path: Path, text: str) -> None:
    expected = make_run(tmp_path, "20261129-100000-fit-a", "mine", "sweep")
    make_run(tmp_path, "20261129-110000-fit-b", "mine", "sweep")
    (tmp_path / "20261129-110000-fit-b" / WANDB_RUN).write_text(text, encoding="utf-8")
    assert interrupted_fit(str(tmp_path)) == expected


@pytest.mark.parametrize("missing", ["WANDB_RUN_ID", "WANDB_SWEEP_ID"])
@pytest.mark.usefixtures("agent")
def test_only_runs_of_sweeps_go_on_by_themselves(tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path, "20261129-100000-fit-a", "mine", "sweep")
    monkeypatch.delenv(missing)
    assert interrupted_fit(str(tmp_path)) is None
    assert interrupted_fit(str(tmp_path / "nowhere")) is None


def ended(code: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how a process ends whose command gave a code, as Python says it: negative for a signal."""
    monkeypatch.setattr(cli, "main", lambda: code)
    if (child := os.fork()) == 0:
        try:
            cli.entry_point()
        except SystemExit as stop:
            os._exit(int(stop.code or 0))
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_stopped_run_of_a_sweep_is_no_failure_to_an_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    # An agent counts codes above 0.
    assert ended(143, monkeypatch) == 143
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    assert ended(143, monkeypatch) == -signal.SIGTERM
    assert ended(130, monkeypatch) == -signal.SIGINT
    assert [ended(code, monkeypatch) for code in (0, 1, 2)] == [0, 1, 2]
