"""Runs that did not end well: each has an exit code of its own, and says what is kept and what to do."""

import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from numclip_lightning.cli import main
from support.command import Numclip, metrics_of, rows_of


class Terminate(Callback):
    """Ends the process from outside in the second epoch, as a cluster does."""

    number = signal.SIGTERM

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.current_epoch == 1:
            os.kill(os.getpid(), self.number)


class Interrupt(Terminate):
    """Presses Ctrl-C in the second epoch."""

    number = signal.SIGINT


class InterruptAtOnce(Callback):
    """Presses Ctrl-C in the first step."""

    def on_train_batch_start(self, *_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)


class InterruptTwice(Callback):
    """Presses Ctrl-C twice in the first step, as who can't wait."""

    def on_train_batch_start(self, *_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


class Preempt(Callback):
    """Ends a job as SLURM does, in the second step of the first epoch."""

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == 1:
            os.kill(os.getpid(), signal.SIGUSR1)


class Spoil(Callback):
    """Makes a parameter NaN in the second epoch."""

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if trainer.current_epoch == 1:
            with torch.no_grad():
                next(p for p in pl_module.parameters() if p.requires_grad).fill_(torch.nan)


@pytest.fixture
def handlers() -> Any:
    """Restore the signal handlers that Lightning changes for good after Ctrl-C."""
    known = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in known.items():
        signal.signal(number, handler)


Failing = Callable[[str, int], tuple[Path, str]]


@pytest.fixture
def failing(numclip: Numclip, capsys: pytest.CaptureFixture[str], handlers: Any) -> Failing:
    """Run a fit with a callback that spoils it; return its run folder and what it prints."""

    def run(callback: str, code: int) -> tuple[Path, str]:
        with numclip.new_folder() as found:
            assert main(["fit", *numclip.flags, f"--trainer.callbacks+=test_endings.{callback}"]) == code
        return found[0], capsys.readouterr().err

    return run


class TestStopped:
    @pytest.mark.parametrize(
        ("callback", "code", "by"),
        [("Terminate", 143, "SIGTERM"), pytest.param("Interrupt", 130, "Ctrl-C", marks=pytest.mark.slow)],
    )
    def test_it_says_what_is_kept_and_its_command_resumes_it(
        self, failing: Failing, numclip: Numclip, callback: str, code: int, by: str
    ) -> None:
        run, error = failing(callback, code)
        assert f"the fit was stopped by {by} before its end" in error
        assert f"kept in {run}" in error
        words = shlex.split(error.strip().splitlines()[-1])
        again = numclip.plain(*words[words.index("fit") :], *numclip.small, "--trainer.callbacks=null")
        assert [int(row["epoch"]) for row in rows_of(again / "metrics.csv") if row["val_mae"]] == [1]

    def test_the_first_step_is_kept_too(self, failing: Failing) -> None:
        run, error = failing("InterruptAtOnce", 130)
        assert "stopped by Ctrl-C before its end" in error
        last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        assert (last["epoch"], last["global_step"]) == (0, 1)

    def test_who_presses_twice_does_not_wait(
        self, numclip: Numclip, capsys: pytest.CaptureFixture[str], handlers: Any
    ) -> None:
        assert main(["fit", *numclip.flags, "--trainer.callbacks+=test_endings.InterruptTwice"]) == 130
        assert "no checkpoint is kept" in capsys.readouterr().err
        assert not list(numclip.runs.glob("*-fit-*"))

    @pytest.mark.slow
    def test_slurm_queues_the_job_again_and_it_goes_on(
        self, numclip: Numclip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        handlers: Any,
    ) -> None:  # fmt: skip
        job = {"JOB_ID": "77", "JOB_NAME": "faces", "NTASKS": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
        for name, value in job.items():
            monkeypatch.setenv(f"SLURM_{name}", value)
        for name, text in (("scontrol", 'echo "$@" > ' + str(tmp_path / "asked")), ("srun", "")):
            program = tmp_path / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        words = ["fit", *numclip.flags, "--report=false"]
        assert main([*words, "--trainer.callbacks+=test_endings.Preempt"]) == 128 + signal.SIGUSR1
        assert (tmp_path / "asked").read_text(encoding="utf-8").strip() == "requeue 77"
        assert "SLURM was asked to start the job again" in capsys.readouterr().err
        known = set(numclip.runs.glob("20*"))
        # The same command, as SLURM gives it.
        assert main(words) == 0
        (run,) = set(numclip.runs.glob("20*")) - known
        steps = [int(row["step"]) for row in rows_of(run / "metrics.csv") if row["train_loss"]]
        assert min(steps) == 2, "the epoch was not begun again"
        monkeypatch.setenv("SLURM_JOB_ID", "78")
        assert main([*words, "--trainer.max_epochs=1"]) == 0, "another job begins at the beginning"


class TestDiverged:
    def test_the_checkpoints_before_it_are_kept(self, failing: Failing) -> None:
        run, error = failing("Spoil", 1)
        assert "the training has diverged: " in error
        assert "is not finite" in error
        assert "(epoch 1)" in error
        assert "model.learning_rates" in error
        last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        assert last["epoch"] == 0
        assert all(value.isfinite().all() for value in last["state_dict"].values())

    def test_a_rate_that_is_far_too_high_is_named_by_its_step(
        self, numclip: Numclip, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["--model.optimizer.name=SGD", "--model.learning_rates.image_encoder=1e30", "--model.lr_scheduler=null"]
        assert main(["fit", *numclip.flags, *words]) == 1
        error = capsys.readouterr().err
        assert re.search(r"the training has diverged: the gradient of \S+ and \d+ more is not finite at step \d", error)
        assert not list(numclip.runs.glob("*-fit-*/checkpoints/best.ckpt"))


class TestCallbacksOfTheUser:
    def test_a_second_checkpoint_callback_does_not_decide_which_is_best(self, numclip: Numclip) -> None:
        other = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_top_k=-1"]
        run = numclip("fit", *other, "--trainer.max_epochs=3", "--test_after_fit=true")
        measured = [float(row["val_mae"]) for row in rows_of(run / "metrics.csv") if row["val_mae"]]
        metrics = metrics_of(run)
        assert metrics["best_checkpoint"] == str(run / "checkpoints" / "best.ckpt")
        assert metrics["val_mae"] == pytest.approx(min(measured), abs=1e-6)
        assert "test_mae" in metrics

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (
                ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/mae"],
                "EarlyStopping refuses: Early stopping conditioned on metric `val/mae` which is not available",
            ),
            (["--trainer.callbacks+=LearningRateFinder"], "set model.learning_rates"),
            (["--trainer.logger=MLFlowLogger"], "MLFlowLogger: Requirement 'mlflow"),
        ],
    )
    def test_what_the_trainer_refuses_is_a_message(
        self, numclip: Numclip, capsys: pytest.CaptureFixture[str], words: list[str], message: str
    ) -> None:
        assert main(["fit", *numclip.flags, *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error


def test_a_flag_that_a_checkpoint_overrides_is_reported(
    fitted: Path, numclip: Numclip, caplog: pytest.LogCaptureFixture
) -> None:
    best = str(fitted / "checkpoints" / "best.ckpt")
    numclip("test", f"--ckpt_path={best}", "--model.tolerance=50", "--model.learning_rates.head=0.5")
    error = caplog.text
    assert "--model.tolerance=50.0 (the checkpoint has None)" in error
    assert "--model.learning_rates.head=0.5 (the checkpoint has" in error
    assert "--model.scale" not in error
