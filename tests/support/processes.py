"""Several processes of gloo, forked from the one of a test: cheaper than starting Python again for each."""

import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def in_processes(number: int, place: Path, work: Callable[[int], Any]) -> list[Any]:
    """Run a function of the rank in forked processes, where a trainer of Lightning finds its place; return the results.

    Args:
        number: How many.
        place: An existing folder.
        work: Returns tensors and plain values; it forms the group of processes, itself or by a trainer.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(number):
        if (process := os.fork()) == 0:
            code = 1
            try:
                os.environ.update({
                    "GLOO_SOCKET_IFNAME": "lo", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                    "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": str(number),
                    "LOCAL_WORLD_SIZE": str(number), "TORCHELASTIC_RUN_ID": "test",
                })  # fmt: skip
                torch.save(work(rank), place / f"{rank}.pt")
                code = 0
            except BaseException:  # noqa: BLE001  # nothing else of a forked process is shown
                (place / f"{rank}.txt").write_text(traceback.format_exc(), encoding="utf-8")
            finally:
                os._exit(code)
        started.append(process)
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in started]
    assert codes == [0] * number, "\n".join(file.read_text(encoding="utf-8") for file in place.glob("*.txt"))
    return [torch.load(place / f"{rank}.pt", weights_only=True) for rank in range(number)]
