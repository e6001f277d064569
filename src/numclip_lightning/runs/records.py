"""Reading the record that a run of a benchmark leaves in its folder."""

import json
from pathlib import Path
from typing import Any

from numclip_lightning.errors import DataError

__all__ = ["PREDICTIONS", "read_record"]

PREDICTIONS = "test_predictions.csv"
# Records of versions before 0.1.0 have `protocol` in place of `select_on`. Their runs are old data and stay readable.
_PROTOCOLS = {"clean": "val", "paper": "test"}


def read_record(folder: Path) -> dict[str, Any]:
    """Read what a run wrote at its end, finished or failed, and add its folder.

    Args:
        folder: The run folder.

    Returns:
        The content of result.json with `folder`.

    Raises:
        DataError: If result.json is missing, or is no JSON object with a status.
    """
    path = folder / "result.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read ({error}); delete {folder} and run the benchmark again.") from error
    if not isinstance(record, dict) or record.get("status") not in ("finished", "failed"):
        raise DataError(f"{path} is no JSON object with a status; delete {folder} and run the benchmark again.")
    if "protocol" in record:
        record["select_on"] = _PROTOCOLS.get(record.pop("protocol"))
    return {**record, "folder": folder}
