"""Running what a benchmark has planned, each run in a process of its own, and what is kept of it.

A process of its own, so that a crash, a full memory or a leak in one run touches no other. The processes are forked
from a server that has imported everything already, so they start in no time.
"""

import json
import os
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Generator, Mapping, Sequence
from multiprocessing import connection, get_context, parent_process, set_start_method
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from numclip_lightning.runs.code import COMMIT, VERSIONS
from numclip_lightning.runs.plan import PlannedRun
from numclip_lightning.runs.records import PREDICTIONS, read_record
from numclip_lightning.runs.command import NumClipCLI
from numclip_lightning.errors import ConfigError, DataError, NumClipError
from numclip_lightning.runs.terminal import configure_logging, message_of

__all__ = ["execute", "find_record", "gpu_of", "has_finished", "peak_memory"]

_RESULT, _LOG, _LOCK = "result.json", "log.txt", "lock"
# One device, as Lightning would start the processes of the others with the benchmark's own words.
_EVERY_RUN = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.devices=1")
_TAKEN = 3
# A line of a report is for people; what a parser says of a whole configuration is not.
_MOST_LETTERS = 500


def find_record(run: PlannedRun) -> dict[str, Any] | None:
    """Return what is kept of a run and, under `folder`, where; None if it was never run to an end, good or bad.

    What is kept and can't be used counts as failed: it is done again, and hides no other run.
    """
    if not (run.folder / _RESULT).is_file():
        return None
    try:
        record = read_record(run.folder)
    except DataError as error:
        record = {**_failed(message_of(error)), "folder": run.folder}
    if record.get("status") == "finished" and not (run.folder / PREDICTIONS).is_file():
        record = {**record, **_failed(f"{PREDICTIONS} is gone from {run.folder}; run the benchmark again.")}
    # Names may change between two calls, the numbers don't.
    return {**record, **run.entry}


def has_finished(run: PlannedRun) -> bool:
    """Tell whether a run is there, whole, and need not be done again."""
    return (find_record(run) or {}).get("status") == "finished"


def execute(
    runs: Sequence[PlannedRun], *, processes: int, keep_checkpoints: bool = False
) -> Generator[tuple[PlannedRun, dict[str, Any] | None], None, None]:
    """Run what isn't finished yet; yield each run with its record as it ends, in any order.

    Where the iteration is given up, by `close` or Ctrl-C, the runs that are under way are ended and leave no record.

    Args:
        runs: What is planned. Finished runs are left alone; failed ones are tried again.
        processes: How many at once; they share the processor's threads, and take the GPUs in turn.
        keep_checkpoints: Whether the checkpoints of finished runs are kept.

    Yields:
        The run, and its record as `find_record` gives it; None where another process is at it right now.
    """
    waiting = [run for run in reversed(runs) if not has_finished(run)]
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    free, at_work = list(range(processes)), list[tuple[PlannedRun, BaseProcess, int]]()
    # OMP_NUM_THREADS is the user's word, on a machine that others use too.
    threads = int(os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) // processes))
    try:
        while waiting or at_work:
            while waiting and free:
                run, slot = waiting.pop(), free.pop()
                # Here, as a process may be killed before it does anything, and that is written down there too.
                run.folder.mkdir(parents=True, exist_ok=True)
                worker: BaseProcess = context.Process(
                    target=_work, args=(run, slot, processes, threads, keep_checkpoints)
                )
                worker.start()
                at_work.append((run, worker, slot))
            connection.wait([worker.sentinel for _, worker, _ in at_work])
            for done in [job for job in at_work if not job[1].is_alive()]:
                at_work.remove(done)
                free.append(done[2])
                code = done[1].exitcode
                yield done[0], None if code == _TAKEN else _settled(done[0], code)
    finally:
        for _, worker, _ in at_work:
            _kill(worker)


def _kill(worker: BaseProcess) -> None:
    """End a run and its loading processes."""
    try:
        if worker.pid and worker.is_alive():
            os.killpg(worker.pid, signal.SIGKILL)
    except ProcessLookupError:
        # It has no group yet.
        worker.kill()
    worker.join()


def _settled(run: PlannedRun, exit_code: int | None) -> dict[str, Any] | None:
    """Return the record of a run whose process has ended, and write one if it could not do so itself."""
    # What has finished stays so, though its process may have crashed on its way out.
    if exit_code and not has_finished(run):
        reason = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
        hint = "; the memory may have been full" if exit_code == -9 else ""
        _write(run, _failed(f"the process {reason}{hint}; see {_LOG}"))
    return find_record(run)


def _work(run: PlannedRun, slot: int, processes: int, threads: int, keep_checkpoints: bool) -> None:
    """Do one run in a process of its own, and leave its record in its folder."""
    # A group of its own, with its loading processes: Ctrl-C reaches the benchmark alone, which ends the runs whole. One
    # that gets it too would be kept as a failure.
    os.setpgid(0, 0)
    # Loading processes start as in any other run. Those of a fork server would not notice that theirs was killed.
    set_start_method(None, force=True)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    lock = FileLock(run.folder.with_name(f"{run.folder.name}.{_LOCK}"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        sys.exit(_TAKEN)
    with lock:
        # By another benchmark that shares the run, since this one began. Asked under the lock, it can't happen after.
        if has_finished(run):
            return
        _empty(run.folder)
        _speak_into(run.folder / _LOG)
        configure_logging()
        if gpus := torch.cuda.device_count():
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu_of(slot, gpus)
        torch.set_num_threads(threads)
        try:
            record = {**_measure(run), "processes": processes}
        except SystemExit:
            # The parser has said what is wrong.
            log = (run.folder / _LOG).read_text(encoding="utf-8", errors="replace")
            record = _failed(log.strip().rpartition("error: ")[2])
        except Exception as error:  # noqa: BLE001
            # Whatever it is, it must not hide the other runs; the whole story is in the log.
            traceback.print_exc()
            record = _failed(
                message_of(error) if isinstance(error, NumClipError) else f"{type(error).__name__}: {message_of(error)}"
            )
        _tidy(run.folder, keep_checkpoints)
        _write(run, record)


def gpu_of(slot: int, gpus: int) -> str:
    """Return the GPU of a slot, among those that the user lets be seen (`CUDA_VISIBLE_DEVICES`).

    Args:
        slot: Which of the processes at once, from 0.
        gpus: How many GPUs can be seen, at least 1.

    Returns:
        Its name, as `CUDA_VISIBLE_DEVICES` takes it.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(gpus)]
    return names[slot % gpus]


def _measure(run: PlannedRun) -> dict[str, Any]:
    """Run it and return what is worth keeping.

    Raises:
        ConfigError: If nothing was fitted, though there is something to learn.
    """
    start = time.perf_counter()
    cli = NumClipCLI([*run.words, *_EVERY_RUN, f"--trainer.default_root_dir={run.folder}"])
    seconds = time.perf_counter() - start
    if not run.trains and cli.is_untrained:
        raise ConfigError(
            f"{type(cli.model).__name__} was tested as it starts, untrained, though it has something to learn; leave "
            f"`trains: false` out of {run.method!r}, or give it a checkpoint by `ckpt_path` in its args."
        )
    device = cli.trainer.strategy.root_device
    metrics = json.loads((cli.folder / "metrics.json").read_text(encoding="utf-8"))
    return {
        "status": "finished",
        "error": None,
        "protocol": metrics.get("protocol", "clean"),
        "seconds": round(seconds, 2),
        "device": _name(device),
        "peak_memory_mib": round(peak_memory(device), 1),
        "trained_parameters": sum(p.numel() for p in cli.model.parameters() if p.requires_grad),
        "metrics": {name: value for name, value in metrics.items() if isinstance(value, float)},
    }


def peak_memory(device: torch.device) -> float:
    """Return the most memory that this process has held so far, in MiB.

    Args:
        device: Where it computes. On a GPU it is the GPU's, anywhere else the process's own, with all libraries.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _name(device: torch.device) -> str:
    """Return what the time of a run depends on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} of {os.cpu_count()} cores)"


def _failed(reason: str) -> dict[str, Any]:
    reason = " ".join(reason.split())
    if len(reason) > _MOST_LETTERS:
        reason = f"{reason[:_MOST_LETTERS]} ...; see {_LOG}"
    return {"status": "failed", "error": reason}


def _write(run: PlannedRun, record: Mapping[str, Any]) -> None:
    """Write the record at once and whole: a run that is killed has none."""
    whole = {**run.entry, "command": ["numclip", *run.words], **record, "commit": COMMIT, "versions": VERSIONS}
    new = run.folder / f"{_RESULT}.new"
    new.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    new.replace(run.folder / _RESULT)


def _empty(folder: Path) -> None:
    """Remove what a run that failed or was killed has left."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _tidy(folder: Path, keep_checkpoints: bool) -> None:
    """Bring what `numclip` wrote up into the run's own folder, and drop the checkpoints unless they are wanted."""
    for inner in [path for path in folder.iterdir() if path.is_dir()]:
        if not keep_checkpoints:
            shutil.rmtree(inner / "checkpoints", ignore_errors=True)
        for path in inner.iterdir():
            path.rename(folder / path.name)
        inner.rmdir()
        if (metrics := folder / "metrics.json").is_file():
            # It names the best checkpoint, which has moved too.
            metrics.write_text(metrics.read_text(encoding="utf-8").replace(str(inner), str(folder)), encoding="utf-8")


def _speak_into(log: Path) -> None:
    """Send everything that is printed, from whatever language, to a file."""
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _end_with_parent() -> None:
    """End when the benchmark is killed: an orphan would go on computing what the next call begins anew."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)
