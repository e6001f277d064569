"""Files that are never half written: beside their place first, synced, and then put there in one step."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.cloud_io import _is_local_file_protocol
from lightning.pytorch.plugins.io import TorchCheckpointIO

from numclip_lightning.errors import RunError

__all__ = ["DurableCheckpoints", "WriteError", "replacing", "use_durable_checkpoints", "write_whole"]

# Where in torch's own code.
_TORCH = re.compile(r"^\[enforce fail at [^]]*\] \. ")
_MEND = "Make room on the disk, or make its folder writable."


class WriteError(RunError):
    """A result that can't be written."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a place beside a file; what is written there takes the file's place at the end, or is removed by an error.

    The earlier file is whole until the new one is on the disk: a full disk, a killed process or a power cut leave one
    of the two.

    Args:
        path: The file.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    # The folder's entry too; not every system can.
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_whole(path: Path, text: str) -> None:
    """Write a text file in UTF-8 as `replacing` does.

    Raises:
        WriteError: If it can't be; an earlier one is still there.
    """
    try:
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WriteError(f"{path} can't be written: {error.strerror or error}. {_MEND}") from error


class DurableCheckpoints(TorchCheckpointIO):
    """Lightning's way to write checkpoints, but so that one that is there is never lost.

    Lightning writes into the system's folder of temporary files and moves the result, which is a copy where that is
    another disk: a process that ends meanwhile leaves a torn file in the place of the good one. Nothing is synced.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: What Lightning has gathered.
            path: A file; addresses such as `s3://...` are Lightning's.
            storage_options: Lightning has none here.

        Raises:
            WriteError: If it can't be written; an earlier one is still there.
        """
        if not _is_local_file_protocol(str(path)):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as part:
                torch.save(checkpoint, part)
        # torch's writer raises RuntimeError of its own where a disk is full.
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or _TORCH.sub("", str(error).splitlines()[0])
            earlier = "The checkpoint that was there before is whole. " if path.is_file() else ""
            raise WriteError(f"the checkpoint {path} can't be written: {reason}. {earlier}{_MEND}") from error


def use_durable_checkpoints(trainer: L.Trainer) -> None:
    """Let a trainer write its checkpoints so, unless its strategy or the user has a way of their own."""
    if type(getattr(trainer.strategy, "_checkpoint_io", None)) in (type(None), TorchCheckpointIO):
        # Strategies that write a folder for each process (FSDP, DeepSpeed) take none.
        with suppress(NotImplementedError, TypeError, AttributeError):
            trainer.strategy.checkpoint_io = DurableCheckpoints()
