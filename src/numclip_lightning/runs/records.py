"""The record of a run of a benchmark: result.json in its folder, written at its end and read for the report."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numclip_lightning.errors import DataError
from numclip_lightning.plain import parse_json
from numclip_lightning.runs.code import CodeVersion
from numclip_lightning.runs.planned import PlannedRun
from numclip_lightning.runs.terminal import message_of

__all__ = [
    "LOG",
    "PREDICTIONS",
    "RESULT",
    "empty_folder",
    "failed_record",
    "find_record",
    "has_finished",
    "read_record",
    "tidy_folder",
    "write_record",
]

LOG, PREDICTIONS, RESULT = "log.txt", "test_predictions.csv", "result.json"
# A line of a report is for people; a parser's message about a whole configuration is too long for it.
_MOST_LETTERS = 500
# Records of versions before 0.1.0 have `protocol` in place of `select_on`. Their runs are old data and stay readable.
_PROTOCOLS = {"clean": "val", "paper": "test"}


def read_record(folder: Path) -> dict[str, Any]:
    """Read the record of a run, finished or failed, and add its folder.

    Args:
        folder: The run folder.

    Returns:
        The content of result.json with `folder`.

    Raises:
        DataError: If result.json is missing, or is no JSON object with a status.
    """
    path = folder / RESULT
    try:
        record = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read ({error}); delete {folder} and run the benchmark again.") from error
    if not isinstance(record, dict) or record.get("status") not in ("finished", "failed"):
        raise DataError(f"{path} is no JSON object with a status; delete {folder} and run the benchmark again.")
    if "protocol" in record:
        record["select_on"] = _PROTOCOLS.get(record.pop("protocol"))
    return {**record, "folder": folder}


def find_record(run: PlannedRun) -> dict[str, Any] | None:
    """Return the record of a run, with its folder; None if it has never ended, finished or failed.

    A record that can't be used counts as failed: the run is repeated, and no other run is hidden.
    """
    if not (run.folder / RESULT).is_file():
        return None
    try:
        record = read_record(run.folder)
    except DataError as error:
        record = {**failed_record(message_of(error)), "folder": run.folder}
    if run.predicts and record.get("status") == "finished" and not (run.folder / PREDICTIONS).is_file():
        record = {**record, **failed_record(f"{PREDICTIONS} is gone from {run.folder}; run the benchmark again.")}
    # Names may change between two calls, results don't.
    return {**record, **run.entry}


def has_finished(run: PlannedRun) -> bool:
    """Return whether a run is complete and need not be repeated."""
    return (find_record(run) or {}).get("status") == "finished"


def failed_record(reason: str) -> dict[str, Any]:
    """Return the record of a failed run, its reason in one line of limited length."""
    reason = " ".join(reason.split())
    if len(reason) > _MOST_LETTERS:
        reason = f"{reason[:_MOST_LETTERS]} ...; see {LOG}"
    return {"status": "failed", "error": reason}


def write_record(run: PlannedRun, code: CodeVersion, record: Mapping[str, Any]) -> None:
    """Write the record whole or not at all: a run that is killed has none."""
    whole = {**run.entry, "command": ["numclip", *run.words], **record, **code._asdict()}
    new = run.folder / f"{RESULT}.new"
    new.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    new.replace(run.folder / RESULT)


def empty_folder(folder: Path) -> None:
    """Remove the files of a run that failed or was killed."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def tidy_folder(folder: Path, keep_checkpoints: bool) -> None:
    """Move the output of `numclip` up into the run's own folder, and delete the checkpoints unless they are kept."""
    for inner in [path for path in folder.iterdir() if path.is_dir()]:
        if not keep_checkpoints:
            shutil.rmtree(inner / "checkpoints", ignore_errors=True)
        for path in inner.iterdir():
            path.rename(folder / path.name)
        inner.rmdir()
        if (metrics := folder / "metrics.json").is_file():
            # It has the path of the best checkpoint, which has moved too.
            metrics.write_text(metrics.read_text(encoding="utf-8").replace(str(inner), str(folder)), encoding="utf-8")
