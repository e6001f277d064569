"""Executes planned runs, each in a process of its own, and keeps a record of each.

A process of its own, so that a crash, a full memory or a leak in one run affects no other. The processes are forked
from a server that has imported everything already, so that they start quickly.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from multiprocessing import connection, get_context, parent_process, set_start_method
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import torch
from filelock import FileLock, Timeout

from numclip_lightning.errors import ConfigError, NumClipError
from numclip_lightning.runs.code import CodeVersion
from numclip_lightning.runs.command import NumClipCLI
from numclip_lightning.runs.cross import write_given
from numclip_lightning.runs.devices import device_name, gpu_of, peak_memory
from numclip_lightning.runs.planned import PlannedRun, PlannedTest
from numclip_lightning.runs.records import (
    LOG,
    empty_folder,
    failed_record,
    find_record,
    has_finished,
    tidy_folder,
    write_record,
)
from numclip_lightning.runs.released import released_parameters, trained_parameters
from numclip_lightning.runs.terminal import configure_logging, message_of

__all__ = ["execute", "execute_next"]

_Run = TypeVar("_Run", bound=PlannedRun)
_Record = dict[str, Any] | None

_LOCK = "lock"
# One device, as Lightning would start the processes of the others with the benchmark's own words.
_EVERY_RUN = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.devices=1")
_TAKEN = 3


def execute(
    runs: Sequence[PlannedRun], code: CodeVersion, *, processes: int, keep_checkpoints: bool = False
) -> Generator[tuple[PlannedRun, _Record], None, None]:
    """Execute the runs that aren't finished yet; yield each with its record as it ends, in any order.

    If the iteration is stopped, by `close` or Ctrl-C, the current runs are ended and leave no record. The tests of a
    run on other images come right after it; its checkpoints are kept until all of them have finished.

    Args:
        runs: The planned runs. Finished runs are left alone; failed ones are tried again. So are their tests.
        code: The code at the start of the benchmark, which each record names.
        processes: How many at once; they share the processor's threads, and take the GPUs in turn.
        keep_checkpoints: Whether the checkpoints of finished runs are kept.

    Yields:
        The run or test, and its record as `find_record` returns it; None if another process is running it.
    """
    waiting = [job for run in reversed(runs) for job in (_tests(run) if has_finished(run) else [run])]
    owners = {run.folder: run for run in runs}
    jobs = execute_next(
        lambda: waiting.pop() if waiting else None, code, processes=processes, keep_checkpoints=keep_checkpoints
    )
    with closing(jobs):
        for run, record in jobs:
            if has_finished(run):
                waiting += _tests(run)
                if isinstance(run, PlannedTest) and not keep_checkpoints:
                    _forget_checkpoints(owners[run.source])
            yield run, record


def execute_next(
    next_run: Callable[[], _Run | None],
    code: CodeVersion,
    *,
    processes: int,
    keep_checkpoints: bool = False,
    preload: Sequence[str] = (),
) -> Generator[tuple[_Run, _Record], None, None]:
    """Execute runs that are known one by one, as what has ended says what comes next; otherwise as `execute`.

    Args:
        next_run: Asked whenever a process is free, after what has ended was yielded; None if there is nothing to start
            now. The end is reached when nothing is started and nothing is at work.
        code: The code that each record names.
        processes: How many at once.
        keep_checkpoints: Whether the checkpoints of finished runs are kept.
        preload: Modules that the processes need besides those of every run.

    Yields:
        The run, and its record; None if another process is running it.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, *preload])
    free, at_work = list(range(processes)), list[tuple[_Run, BaseProcess, int]]()
    # OMP_NUM_THREADS is the user's choice, on a machine that others use too.
    threads = int(os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) // processes))
    try:
        while True:
            while free and (run := next_run()) is not None:
                slot = free.pop()
                # Here, since a process may be killed before it does anything, and that is recorded there too.
                run.folder.mkdir(parents=True, exist_ok=True)
                worker: BaseProcess = context.Process(
                    target=_work, args=(run, code, slot, processes, threads, keep_checkpoints)
                )
                worker.start()
                at_work.append((run, worker, slot))
            if not at_work:
                return
            connection.wait([worker.sentinel for _, worker, _ in at_work])
            for done in [job for job in at_work if not job[1].is_alive()]:
                at_work.remove(done)
                free.append(done[2])
                exit_code = done[1].exitcode
                yield done[0], None if exit_code == _TAKEN else _settled(done[0], code, exit_code)
    finally:
        for _, worker, _ in at_work:
            _kill(worker)


def _tests(run: PlannedRun) -> list[PlannedRun]:
    """Return the tests of a finished run that have not finished, the last first."""
    return [test for test in reversed(run.tests) if not has_finished(test)]


def _forget_checkpoints(run: PlannedRun) -> None:
    """Remove the checkpoints of a run whose tests have all finished."""
    if all(map(has_finished, run.tests)):
        shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)


def _kill(worker: BaseProcess) -> None:
    """End a run and its loading processes."""
    try:
        if worker.pid and worker.is_alive():
            os.killpg(worker.pid, signal.SIGKILL)
    except ProcessLookupError:
        # It has no group yet.
        worker.kill()
    worker.join()


def _settled(run: PlannedRun, code: CodeVersion, exit_code: int | None) -> dict[str, Any] | None:
    """Return the record of a run whose process has ended, and write one if the process could not."""
    # A finished run stays finished, even if its process crashed at its very end.
    if exit_code and not has_finished(run):
        reason = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
        hint = "; the memory may have been full" if exit_code == -9 else ""
        write_record(run, code, failed_record(f"the process {reason}{hint}; see {LOG}"))
    return find_record(run)


def _work(run: PlannedRun, code: CodeVersion, slot: int, processes: int, threads: int, keep_checkpoints: bool) -> None:
    """Execute one run in a process of its own, and leave its record in its folder."""
    # A group of its own, with its loading processes: Ctrl-C reaches the benchmark alone, which ends the runs. A run
    # that received it too would be recorded as a failure.
    os.setpgid(0, 0)
    # Loading processes start as in any other run. Those of a fork server would not notice that their run was killed.
    set_start_method(None, force=True)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    lock = FileLock(run.folder.with_name(f"{run.folder.name}.{_LOCK}"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        sys.exit(_TAKEN)
    with lock:
        # Another benchmark that shares the run may have finished it since this one began; not later, under the lock.
        if has_finished(run):
            return
        empty_folder(run.folder)
        _redirect_output(run.folder / LOG)
        configure_logging()
        if gpus := torch.cuda.device_count():
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu_of(slot, gpus)
        torch.set_num_threads(threads)
        try:
            record = {**_measure(run), "processes": processes}
        except SystemExit:
            # The parser has printed what is wrong.
            log = (run.folder / LOG).read_text(encoding="utf-8", errors="replace")
            record = failed_record(log.strip().rpartition("error: ")[2])
        except Exception as error:  # noqa: BLE001
            # No error may hide the other runs; the traceback is in the log.
            traceback.print_exc()
            record = failed_record(
                message_of(error) if isinstance(error, NumClipError) else f"{type(error).__name__}: {message_of(error)}"
            )
        tidy_folder(run.folder, keep_checkpoints or bool(run.tests))
        write_record(run, code, record)


def _measure(run: PlannedRun) -> dict[str, Any]:
    """Execute a run and return the results for its record.

    Raises:
        ConfigError: If nothing was fitted, though the method has something to learn.
    """
    if isinstance(run, PlannedTest):
        write_given(run)
    start = time.perf_counter()
    cli = NumClipCLI([*run.words, *_EVERY_RUN, f"--trainer.default_root_dir={run.folder}"], callbacks=run.callbacks)
    seconds = time.perf_counter() - start
    if not run.trains and cli.is_untrained:
        raise ConfigError(
            f"{type(cli.model).__name__} was tested untrained, though it has something to learn; remove "
            f"`trains: false` from {run.method!r}, or give it a checkpoint by `ckpt_path` in its args."
        )
    device = cli.trainer.strategy.root_device
    metrics = json.loads((cli.folder / "metrics.json").read_text(encoding="utf-8"))
    return {
        "status": "finished",
        "error": None,
        "select_on": metrics["select_on"],
        "seconds": round(seconds, 2),
        "device": device_name(device),
        "peak_memory_mib": round(peak_memory(device), 1),
        "trained_parameters": trained_parameters(cli.model) + released_parameters(cli.trainer),
        "metrics": {name: value for name, value in metrics.items() if isinstance(value, float)},
    }


def _redirect_output(log: Path) -> None:
    """Send all output of this process, also of C code, to a file."""
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _end_with_parent() -> None:
    """End this process when the benchmark is killed: it would go on computing a run that the next call starts again."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)
