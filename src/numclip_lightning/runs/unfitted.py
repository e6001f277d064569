"""Intervals for a method that was never fitted: its validation images are predicted before it is tested."""

import logging
from typing import Any

import lightning as L

from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.errors import NumClipError
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.runs.calibrating import Calibrate
from numclip_lightning.runs.checks import check_targets
from numclip_lightning.runs.trainer import uses_whole_split

__all__ = ["calibrate_unfitted"]

_log = logging.getLogger(__name__)


def calibrate_unfitted(trainer: L.Trainer, method: OrdinalMethod, data: OrdinalDataModule) -> None:
    """Calibrate a method that learns nothing on the validation images, as a fit does at its end.

    The run folder gets `validation_predictions.csv` and `calibration.json`, and the metrics of the validation. Nothing
    is done where intervals are not asked for or were given, where only a part is tested to try something out, and
    where there are no validation images of their own, which the log says.

    Args:
        trainer: Of the test.
        method: The method.
        data: Its test images are checked first, so that a fault in them is known at once.

    Raises:
        NumClipError: If the test images can't be used.
    """
    found: Any = next((one for one in trainer.callbacks if isinstance(one, Calibrate)), None)  # type: ignore[attr-defined]
    if found is None or found.choices is None or found.file or not uses_whole_split(trainer, "test"):
        return
    data.setup("test")
    check_targets(data, "test", method.scale)
    if getattr(data, "select_on", "val") == "test":
        _log.info("no intervals: with data.select_on=test there are no validation images to find them on")
        return
    try:
        data.setup("validate")
        check_targets(data, "val", method.scale)
    except NumClipError as error:
        _log.warning("no intervals: they are found on validation images, which can't be used: %s", error)
        return
    _log.info("predicting %d validation images first, from which intervals are found", len(data.labels("val")))
    trainer.validate(method, datamodule=data, verbose=False)
