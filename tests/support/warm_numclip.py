"""`numclip` from a process that has imported everything: each call is a fork of it, with its own folder and signals.

An agent starts one process for each run, and each would import for ten seconds. `warm_numclip` writes a program
`numclip` that asks for a fork, passes signals on to it and ends with its exit code, as the installed one does.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Seconds for the imports, on a machine with much else to do.
_PATIENCE = 900

_CLIENT = """#!{python} -S
import array, json, os, signal, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect({place!r})
told = json.dumps({{"words": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd()}}).encode()
line.sendmsg([len(told).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1, 2]))])
line.sendall(told)
answers = line.makefile()
child = int(answers.readline())
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, lambda number, _: os.kill(child, number))
code = int(answers.readline())
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def _serve(listener: socket.socket) -> dict[str, Any]:
    """Fork for each caller; return what was asked, in the fork alone."""
    while True:
        caller, _ = listener.accept()
        if os.fork():
            caller.close()
            continue
        # A guardian for each call, which waits for its end and says how it was.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        head, descriptors, _, _ = socket.recv_fds(caller, 4, 2)
        length, told = int.from_bytes(head, "big"), b""
        while len(told) < length:
            told += caller.recv(length - len(told))
        if (child := os.fork()) == 0:
            listener.close()
            caller.close()
            for target, descriptor in enumerate(descriptors, start=1):
                os.dup2(descriptor, target)
                os.close(descriptor)
            found: dict[str, Any] = json.loads(told)
            return found
        caller.sendall(f"{child}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with contextlib.suppress(OSError):
            caller.sendall(f"{code}\n".encode())
        os._exit(0)


@contextmanager
def warm_numclip(folder: Path) -> Iterator[Path]:
    """Write `numclip` into a folder of its own there, answered until the end; yield that folder, for PATH."""
    programs = folder / "bin"
    programs.mkdir()
    place = str(folder / "numclip.socket")
    client = programs / "numclip"
    client.write_text(_CLIENT.format(python=sys.executable, place=place), encoding="utf-8")
    client.chmod(0o755)
    process = subprocess.Popen([sys.executable, __file__, place])
    try:
        end = time.monotonic() + _PATIENCE
        while not Path(place).exists():
            assert process.poll() is None, "it could not be started"
            assert time.monotonic() < end, "it takes too long"
            time.sleep(0.1)
        yield programs
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    import numclip_lightning.commands.test  # noqa: F401  # what a fit needs
    from numclip_lightning.cli import entry_point

    # Guardians are not waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{sys.argv[1]}.new")
    listening.listen(16)
    Path(f"{sys.argv[1]}.new").rename(sys.argv[1])
    asked = _serve(listening)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    # As the shell calls the installed program.
    sys.argv = ["numclip", *asked["words"]]
    entry_point()
