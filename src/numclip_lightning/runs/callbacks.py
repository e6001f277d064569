"""The callbacks that belong to every run: their flags, and which of them a verb gets."""

from pathlib import Path
from typing import Any, Literal

from jsonargparse import Namespace
from lightning.pytorch.callbacks import Callback, ModelSummary, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from numclip_lightning.errors import ConfigError
from numclip_lightning.images.corruptions import parse_corruptions
from numclip_lightning.runs.averaging import AverageWeights
from numclip_lightning.runs.calibrating import Calibrate
from numclip_lightning.runs.checkpoints import BestCheckpoint
from numclip_lightning.runs.compute import Compute
from numclip_lightning.runs.corrupted import TestCorrupted
from numclip_lightning.runs.features import KeepFeatures
from numclip_lightning.runs.focus import Focus
from numclip_lightning.runs.in_wandb import InWandb
from numclip_lightning.runs.length import FitLength, StopEarly
from numclip_lightning.runs.maps import MapExtremes, WriteMaps
from numclip_lightning.runs.model_summary import SummariseParts
from numclip_lightning.runs.non_finite import NonFiniteSteps, OnNonFinite
from numclip_lightning.runs.off_scale_test import TestOffScale
from numclip_lightning.runs.on_scale import OnScale
from numclip_lightning.runs.prediction_shards import SHARD_SIZE, WriteShards
from numclip_lightning.runs.predictions import WritePredictions
from numclip_lightning.runs.progress import Progress
from numclip_lightning.runs.released import ReleaseText
from numclip_lightning.runs.scale_scores import ScoreName
from numclip_lightning.runs.stopping import StopOnSignals
from numclip_lightning.runs.training_log import LogTraining

__all__ = ["add_callback_flags", "add_prediction_flags", "add_reading_flags", "listed", "loggers_of", "own_callbacks"]


def add_callback_flags(parser: LightningArgumentParser) -> None:
    """Add the callbacks with settings, which a list of callbacks in a configuration can't replace."""
    parser.add_lightning_class_args(KeepFeatures, "features")
    parser.add_lightning_class_args(Compute, "compute")
    # Plain classes and not Lightning's: those would be callbacks of every run, some of which keep none.
    parser.add_class_arguments(BestCheckpoint, "checkpoint", fail_untyped=False, sub_configs=True)
    parser.add_class_arguments(AverageWeights, "averaging")
    parser.add_class_arguments(StopEarly, "early_stopping")
    parser.add_class_arguments(FitLength, "length")
    parser.add_class_arguments(Calibrate, "calibration")
    parser.add_argument("--on_non_finite", type=OnNonFinite, default="raise",
                        help="Stop at a step whose gradients are not finite, or leave it out.")  # fmt: skip
    parser.add_argument("--pictures", type=bool | Literal["no_images"], default=False,
                        help="Draw a run at its end, for folder and loggers; no_images for private ones.")  # fmt: skip
    parser.add_argument("--preemptible", type=bool, default=False,
                        help="Let an agent of W&B go on with a run of a sweep that a signal has stopped.")  # fmt: skip
    parser.set_defaults({
        "checkpoint.monitor": "val_mae",
        "checkpoint.mode": "min",
        "checkpoint.filename": "best",
        "checkpoint.save_last": True,
        "checkpoint.enable_version_counter": False,
    })  # fmt: skip


def own_callbacks(verb: str, given: Namespace, folder: Path, *, keeps_checkpoints: bool) -> list[Callback]:
    """Return the callbacks of a run, besides those of the `trainer` section.

    Args:
        verb: `fit`, `validate`, `test` or `predict`.
        given: The section of the verb, its classes built.
        folder: The run folder.
        keeps_checkpoints: Whether the run keeps any.
    """
    callbacks: list[Callback] = []
    theirs = listed(given.trainer.callbacks)
    if given.trainer.enable_progress_bar is not False and not any(isinstance(one, ProgressBar) for one in theirs):
        callbacks.append(Progress())
    if verb == "fit":
        if given.trainer.enable_model_summary is not False and not any(isinstance(one, ModelSummary) for one in theirs):
            callbacks.append(SummariseParts())
        steps = NonFiniteSteps(given.on_non_finite)
        callbacks += [
            steps,
            LogTraining(steps),
            given.averaging,
            given.length,
            *given.early_stopping.callbacks(),
        ]
    if any(isinstance(logger, WandbLogger) for logger in listed(given.trainer.logger)):
        callbacks.append(InWandb(folder, preemptible=given.preemptible))
    if verb in ("test", "predict"):
        callbacks.append(ReleaseText())
    if keeps_checkpoints:
        given.checkpoint.dirpath = given.checkpoint.dirpath or str(folder / "checkpoints")
        callbacks += [StopOnSignals(), given.checkpoint] if verb == "fit" else [given.checkpoint]
    if not given.trainer.fast_dev_run:
        given.calibration.checkpoint = None if verb == "fit" else given.ckpt_path
        callbacks += [Focus(given.focus)] if given.get("focus") else []
        callbacks += [given.calibration, *_writers(verb, given, folder)]
        if given.get("corrupt"):
            callbacks.append(TestCorrupted(parse_corruptions(given.corrupt), folder / "corruptions.csv"))
        if given.get("maps"):
            callbacks.append(WriteMaps(folder / "maps"))
        # Only what writes a report has the flag.
        if given.get("report") is True:
            callbacks.append(MapExtremes(folder / "maps"))
    return callbacks


def _writers(verb: str, given: Namespace, folder: Path) -> list[Callback]:
    """Return the callbacks that write predictions, and say of each image whether it is on the scale if asked."""
    # A fit may end in a test.
    off_scale = verb in ("fit", "test") and bool(getattr(given.data, "off_scale_file", None))
    asked = given.get("on_scale"), given.get("reject"), given.get("concepts")
    on_scale = OnScale.asked(*asked, off_scale=off_scale)
    output = given.get("output")
    writer: Callback
    size = given.get("shard_size")
    if given.get("format") == "parquet":
        place = Path(output or folder / "predictions")
        writer = WriteShards(place, SHARD_SIZE if size is None else size, given.calibration, on_scale)
    else:
        if size is not None:
            raise ConfigError(f"--shard_size={size} is of shards; add --format=parquet, or leave it out.")
        predicted = Path(output or folder / "predictions.csv")
        writer = WritePredictions(predicted, folder / "test_predictions.csv", given.calibration, on_scale)
    if on_scale is None:
        return [writer]
    off_scale_test = TestOffScale(on_scale, folder / "off_scale_predictions.csv")
    # The scores are learned before the first batch, and read before they are written.
    return [on_scale, off_scale_test, writer]


def add_reading_flags(parser: LightningArgumentParser) -> None:
    """Add the flags of a test and a prediction: whether images are on the scale, and what of them is read."""
    parser.add_argument("--on_scale", type=ScoreName | None, default=None,
                        help="Say of each image whether it is on the scale at all, by this score.")  # fmt: skip
    parser.add_argument("--reject", type=float | None, default=None,
                        help="Reject images off the scale, and this share of those on it, such as 0.05.")  # fmt: skip
    parser.add_argument("--concepts", type=str | None, default=None,
                        help="A file of words, one a line: the nearest say what an image shows instead.")  # fmt: skip
    parser.add_argument("--focus", type=str | None, default=None,
                        help="Read images by the places that look like these words, as 'the disc'.")  # fmt: skip


def add_prediction_flags(parser: LightningArgumentParser) -> None:
    """Add the flags of a prediction: what is written, and where."""
    parser.add_argument("--output", type=str | None, default=None,
                        help="The CSV to write, or the folder of Parquet; by default predictions.csv, or predictions, "
                        "in the run folder.")  # fmt: skip
    parser.add_argument("--format", type=Literal["csv", "parquet"], default="csv",
                        help="csv: one file, joined at the end. parquet: shards in a folder, for any number of images; "
                        "a prediction that was stopped goes on with the same --output.")  # fmt: skip
    parser.add_argument("--shard_size", type=int | None, default=None,
                        help=f"The most images of a shard of Parquet; {SHARD_SIZE:,} by default.")  # fmt: skip
    parser.add_argument("--maps", type=bool, nargs="?", const=True, default=False,
                        help="Write which number each place of an image reads, to maps/")  # fmt: skip


def loggers_of(given: Any, root: str, name: str) -> list[Logger]:
    """Return the loggers of the `trainer` section, and that of `metrics.csv`.

    Args:
        given: What the section has.
        root: Where run folders are.
        name: The name of the run folder, which TensorBoard shows for the run.
    """
    loggers = listed(given)
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger) and logger._version is None:
            # Private: Lightning would count runs, and two that start at once would share a number.
            logger._version = name
    # Flushed at every row: what a killed run has measured is not lost.
    return [*loggers, CSVLogger(root, "", name, flush_logs_every_n_steps=1)]


def listed(given: Any) -> list[Any]:
    """Return loggers or callbacks of the `trainer` section as a list; None and True mean that none were given."""
    if given is None or given is True:
        return []
    return list(given) if isinstance(given, list) else [given]
