"""Writing predictions of any number of images: each process its own shards of Parquet, none gathered."""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L

from numclip_lightning.data.base.datamodule import Split
from numclip_lightning.errors import ConfigError, NumClipError
from numclip_lightning.methods.base.frozen import fingerprint
from numclip_lightning.runs.calibrating import Calibrate
from numclip_lightning.runs.on_scale import OnScale
from numclip_lightning.runs.prediction_writer import PredictionWriter, Unread, problem_of
from numclip_lightning.runs.rows import Row
from numclip_lightning.runs.skipped import Skipped
from numclip_lightning.shards import ShardFolder, ShardWriter, divide

__all__ = ["SHARD_SIZE", "WriteShards"]

_log = logging.getLogger(__name__)

SHARD_SIZE = 100_000
"""The images of a shard unless another number is asked for."""


class WriteShards(PredictionWriter):
    """Writes predictions as shards of Parquet, with the columns of the CSV and `index`, the place in the input.

    Rows are handed to the system after each batch. Each process writes shards of its own stretch of the input, and no
    process holds more than a batch. A prediction that was stopped, killed or interrupted goes on where it was when the
    same command is given again, in any number of processes: what is in the folder is not predicted again.

    Args:
        folder: The folder of the shards, which all processes see.
        size: The most images of a shard.
        calibrate: Knows the calibration of the run.
        on_scale: What adds columns that say whether an image is on the scale; None adds none.

    Raises:
        ConfigError: If `size` is less than 1, or the folder has the name of a file.
    """

    def __init__(self, folder: Path, size: int, calibrate: Calibrate, on_scale: OnScale | None = None) -> None:
        if size < 1:
            raise ConfigError(f"--shard_size is {size}; give the most images of a shard, 1 or more.")
        if folder.suffix in (".csv", ".parquet"):
            raise ConfigError(f"--output={folder} has the name of a file, but --format=parquet writes a folder.")
        super().__init__(calibrate, on_scale)
        self.folder, self.size = folder, size
        self._shards: ShardFolder | None = None
        self._writer: ShardWriter | None = None
        self._total = 0
        self._limit: int | float | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Find what is left to predict, and share it among the processes.

        Raises:
            ConfigError: If the folder can't be used, or holds other predictions.
        """
        if stage != "predict":
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._total = len(data.labels("predict"))
        self.problem = None
        found: Any = None
        if trainer.is_global_zero:
            try:
                self._shards = ShardFolder(self.folder)
                images = data.dataset("predict")
                found = self._shards.open(self._identity(trainer, pl_module, images), self._total)
                self._report_changed(getattr(images, "files", ()))
            except NumClipError as error:
                found = error
            except OSError as error:
                # The other processes wait for an answer.
                found = ConfigError(f"{self.folder} can't be written to: {error.strerror or error}.")
        found = trainer.strategy.broadcast(found)
        if isinstance(found, NumClipError):
            raise found
        self._shards = self._shards or ShardFolder(self.folder)
        self._skipped = Skipped(self._shards.skipped())
        left = sum((end or 0) - start for start, end in found)
        if left < self._total and trainer.is_global_zero:
            _log.info("%d of %d images were predicted before; their rows stay in %s",
                      self._total - left, self._total, self.folder)  # fmt: skip
        # With fewer images than processes some have nothing to do.
        data.allow_zero_length_dataloader_with_multiple_devices = True
        data.predict_ranges = divide(found, left, trainer.world_size, trainer.global_rank)
        if not left:
            # Lightning would warn of an empty loader.
            self._limit, trainer.limit_predict_batches = trainer.limit_predict_batches, 0

    def _open(self, trainer: L.Trainer, split: Split, heading: list[str]) -> None:
        """Open the first shard of this process."""
        self._writer = ShardWriter(self.folder, heading, self.size)

    def _append(self, rows: Iterable[Row], unread: Unread) -> None:
        """Write rows, and what could not be read beside them."""
        assert self._writer is not None
        self._writer.append(rows, unread)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Finish the last shard."""
        self._close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Keep the rows that were computed before an error."""
        written = self._writer is not None
        self._close()
        if self._shards is None:
            return
        if written:
            _log.warning(
                "%d of %d images were predicted before the error; their rows are kept in %s, and the same command goes "
                "on from there",
                self._shards.done().rows, self._total, self.folder,
            )  # fmt: skip
        self._shards.close()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Say what is there, and leave the data as they were.

        Here, and not at the end of the prediction: a process that had nothing to do has none.
        """
        if stage != "predict":
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        data.predict_ranges = None
        if self._limit is not None:
            trainer.limit_predict_batches, self._limit = self._limit, None
        trainer.strategy.barrier()
        self._finish(trainer)

    def _close(self) -> None:
        writer, self._writer, self._rows = self._writer, None, None
        if writer is not None:
            writer.close()

    def _finish(self, trainer: L.Trainer) -> None:
        """Say what is there, and remember what is wrong with it; all processes agree on that."""
        assert self._shards is not None
        found = None
        if trainer.is_global_zero:
            done, skipped = self._shards.done(), Skipped(self._shards.skipped())
            skipped.write(self.folder)
            _log.info("%d predictions written to %s", done.rows, self.folder)
            missing = self._total - done.rows - len(skipped)
            if missing:
                _log.warning("%d of %d images have no row yet in %s", missing, self._total, self.folder)
            found = problem_of(done.not_finite, done.rows, done.first_not_finite, self.folder, skipped)
            self._shards.close()
        self.problem = trainer.strategy.broadcast(found)

    def _report_changed(self, files: Sequence[Path]) -> None:
        """Report the images that have changed since they were predicted: their rows stay as they are."""
        assert self._shards is not None
        changed = self._shards.changed(files) if files else {}
        if changed:
            shard, images = next(iter(changed.items()))
            _log.warning(
                "%d of the images that were predicted before have changed since, first %s; their rows in %s are of the "
                "images as they were. To predict them again, remove %s%s and give the same command",
                sum(map(len, changed.values())), images[0], self.folder, shard.name,
                f" and {len(changed) - 1} more shards" if len(changed) > 1 else "",
            )  # fmt: skip

    def _identity(self, trainer: L.Trainer, method: L.LightningModule, dataset: Any) -> dict[str, Any]:
        """Return what predictions depend on, by the names that a message has for it."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        labels = data.labels("predict")
        columns = labels.columns
        paths = hashlib.sha256()
        for path in columns.paths if columns else (label.path for label in labels):
            paths.update(path.encode("utf-8", "surrogateescape") + b"\0")
        # Images that are in no files are made from a seed.
        made_from = "" if hasattr(dataset, "files") or hasattr(dataset, "urls") else str(data.seed)
        transform = getattr(dataset, "transform", None)
        made = [transform.settings, transform.normalization] if transform else []
        reading = getattr(dataset, "reading", None)
        made += [asdict(reading)] if reading else []
        calibration = self.calibrate.calibration
        added = [repr(calibration) if calibration else "", self._on_scale.columns if self._on_scale else []]
        added.append(list(labels.attributes))
        return {
            "model": _digest(trainer, method),
            "list of images": [self._total, paths.hexdigest(), str(getattr(data, "root", "")), made_from],
            "preprocessing": made,
            "precision": str(trainer.precision),
            "calibration or columns": hashlib.sha256(json.dumps(added).encode()).hexdigest(),
        }


def _digest(trainer: L.Trainer, method: L.LightningModule) -> str:
    """Return what tells a model from others: the content of its checkpoint, or of its weights without one."""
    path = getattr(trainer, "ckpt_path", None)
    if path and Path(path).is_file():
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    found = hashlib.sha256(type(method).__name__.encode())
    for name, tensor in method.state_dict().items():
        found.update(f"{name} {fingerprint(tensor)}\n".encode())
    return found.hexdigest()
