"""Processes that Lightning has started end when the one that started them is gone, whatever they wait for."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

__all__ = ["named_as_starter", "watch_starter"]

_VARIABLE = "NUMCLIP_STARTED_BY"
_SECONDS = 1.0


@contextmanager
def named_as_starter(trainer: L.Trainer) -> Iterator[None]:
    """Tell the processes that a trainer starts who has started them; nothing where it starts none."""
    launcher = trainer.strategy.launcher
    if (
        isinstance(launcher, _SubprocessScriptLauncher)
        and not launcher.cluster_environment.creates_processes_externally
    ):
        os.environ[_VARIABLE] = str(os.getpid())
    try:
        yield
    finally:
        os.environ.pop(_VARIABLE, None)


def watch_starter() -> None:
    """Let this process end soon after the one that has started it, if that was the first process of a run.

    Where the first process is killed, by a system that lacks memory for example, the others would wait: half an hour
    for it to form their group, or on a GPU for its part of a sum, and hold their memory meanwhile. Processes that
    torchrun, SLURM or the user have started are left to them.
    """
    starter = os.environ.get(_VARIABLE)
    if starter and "TORCHELASTIC_RUN_ID" not in os.environ:
        threading.Thread(target=_watch, args=(int(starter),), daemon=True, name="numclip-starter").start()


def _watch(starter: int) -> None:
    # The parent of an orphan is another one.
    while os.getppid() == starter:
        time.sleep(_SECONDS)
    sys.stderr.write(f"numclip: error: process {starter}, which had started process {os.getpid()}, has ended\n")
    sys.stderr.flush()
    # The main thread may never come back from where it waits.
    os._exit(1)
