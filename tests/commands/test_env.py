"""`numclip env` says what an issue needs, and no secret."""

import platform

import pytest
import torch

from numclip_lightning import __version__
from numclip_lightning.cli import main
from support.command import failure


def test_it_names_versions_and_the_machine(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "secret-key")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert main(["env"]) == 0
    printed = capsys.readouterr().out
    lines = dict(line.split(": ", 1) for line in printed.splitlines())
    assert lines["numclip"] == __version__
    assert lines["python"].startswith(platform.python_version())
    assert lines["torch"] == torch.__version__.split("+")[0] or lines["torch"] == torch.__version__
    assert lines["OMP_NUM_THREADS"] == "7"
    # Of an extra.
    assert "onnxruntime" in lines
    assert "secret-key" not in printed


def test_it_takes_no_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert failure("env", "--verbose") == 2
    assert "--verbose" in capsys.readouterr().err
