"""`numclip` in a process of its own, for tests that stop it; and waiting for what it does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from support.places import REPOSITORY

__all__ = ["PATIENCE", "numclip_process", "wait_until"]

PATIENCE = 400
"""Seconds; a machine that others use starts slowly."""


@contextmanager
def numclip_process(words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A command in a process, which ends with the test; its errors are piped.

    It is in a group of its own, as a terminal sends Ctrl-C to all processes of a group; and it reacts to Ctrl-C even
    if the tests run in the background and don't.
    """
    command = [sys.executable, "-m", "numclip_lightning", *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ignoring = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        signal.signal(signal.SIGINT, ignoring)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_until(done: Callable[[], bool]) -> None:
    """Wait for something that happens elsewhere; fail if it never does."""
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.1)
