"""What a run has left out of its lists because it can't be read: a file of the run folder, and how many."""

import csv
import io
from pathlib import Path
from typing import Any

from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.runs.durable import write_whole

__all__ = ["LEFT_OUT", "number_left_out", "write_left_out"]

LEFT_OUT = "left_out.csv"


def write_left_out(data: Any, folder: Path) -> None:
    """Write a line for each image that is left out (`on_bad_image=skip`); nothing if there is none.

    Args:
        data: The datamodule of the run, after its setup.
        folder: The run folder.
    """
    if not number_left_out(data):
        return
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("list", "path", "place", "reason"))
    for split, bad in data.split_lists.left_out.items():
        rows.writerows((split, image.label.path, image.label.where, image.reason) for image in bad)
    write_whole(folder / LEFT_OUT, text.getvalue())


def number_left_out(data: Any) -> dict[str, int]:
    """Return how many images each list lacks, as `metrics.json` names it: `{"train_left_out": 2}`.

    Args:
        data: The datamodule of the run, after its setup.
    """
    lists = data.split_lists.left_out if isinstance(data, FileDataModule) else {}
    return {f"{split}_left_out": len(bad) for split, bad in lists.items() if bad}
