"""Which code a run is made by: its commit, and files of the user's own."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from numclip_lightning.runs.code import own_sources
from support.places import REPOSITORY

COUNTING = {"data.num_train": 16, "data.num_val": 8, "data.num_test": 8, "data.num_workers": 0, "trainer.max_epochs": 1}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of this package with one commit."""
    shutil.copytree(REPOSITORY / "src", tmp_path / "clone" / "src", ignore=shutil.ignore_patterns("__pycache__"))
    git(tmp_path / "clone", "init", "--quiet")
    commit(tmp_path / "clone")
    return tmp_path / "clone"


def git(clone: Path, *words: str) -> str:
    user = ("-c", "user.name=A", "-c", "user.email=a@b.c")
    done = subprocess.run(["git", "-C", str(clone), *user, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(clone: Path) -> str:
    """Commit what there is, be it nothing; return the short name."""
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "--allow-empty", "--message=x")
    return git(clone, "describe", "--always")


@pytest.mark.slow
def test_a_commit_made_while_a_benchmark_runs_is_not_that_of_its_runs(clone: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    slow = {"args": {"model": "support.benchmark_victim.Slow", "model.wait_for": str(go)}}
    config = {
        "title": "Try",
        "datasets": {"counting": {"config": str(REPOSITORY / "configs" / "counting.yaml"), "args": COUNTING}},
        "methods": {"slow": slow},
        "seeds": [0],
        "metrics": ["test_mae"],
        "root": str(tmp_path / "runs"),
    }
    (tmp_path / "try.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    path = os.pathsep.join([str(clone / "src"), str(REPOSITORY / "tests")])
    command = [sys.executable, "-m", "numclip_lightning", "benchmark", f"--config={tmp_path / 'try.yaml'}"]
    environment = {**os.environ, "PYTHONPATH": path}
    before = git(clone, "describe", "--always")
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as process:
        while not go.with_suffix(".started").exists():
            assert process.poll() is None
            time.sleep(0.05)
        after = commit(clone)
        go.touch()
    assert process.returncode == 0
    (result,) = tmp_path.glob("runs/counting/slow/*/result.json")
    assert json.loads(result.read_text(encoding="utf-8"))["commit"] == before

    again = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert f"1 of 1 finished runs were made by other code (commit {before}; this is {after})" in again.stderr
    assert f"delete their folders in {tmp_path / 'runs'}, or give another --root" in again.stderr


class TestOwnSources:
    def test_files_of_the_users_own_are_found_wherever_they_are_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "mine_package").mkdir()
        # Not imported: this would fail.
        for name in ("mine.py", "mine_package/__init__.py", "mine_package/callbacks.py", "mine_unused.py"):
            (tmp_path / name).write_text("raise RuntimeError", encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        callbacks = [{"class_path": "mine_package.callbacks.Mine"}]
        config = [{"model": "mine.Mine", "trainer": {"callbacks": callbacks}}, {"data.class_path": "mine_package.Data"}]
        found = [file.relative_to(tmp_path).as_posix() for file in own_sources(config)]
        assert found == ["mine.py", "mine_package/__init__.py", "mine_package/callbacks.py"]

    @pytest.mark.parametrize(
        "path",
        [
            "NumCLIP",
            "numclip_lightning.methods.NumCLIP",
            "lightning.pytorch.loggers.WandbLogger",
            "json.decoder.JSONDecoder",
            "nowhere_to_be_found.Method",
            "",
        ],
    )
    def test_what_has_a_version_or_is_not_there_has_none(self, path: str) -> None:
        assert own_sources({"model": {"class_path": path}}) == []
