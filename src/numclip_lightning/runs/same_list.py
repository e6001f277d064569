"""Whether a fit that is resumed has the training list that it was stopped with."""

import logging
import zlib
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback

from numclip_lightning.data.base.datamodule import OrdinalDataModule

__all__ = ["SameList"]

_log = logging.getLogger(__name__)


class SameList(Callback):
    """Says so if a resumed fit has other training images than before: it doesn't end as the one that was stopped.

    A list that has changed gives the rest of an epoch other images: what is left of it is a matter of places. The fit
    goes on, because more images may be why it is resumed.
    """

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Keep how many training images there are, and a checksum of their targets in order."""
        return {"list": self._before}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember what the checkpoint was made with; older ones don't say."""
        self._before = state_dict["list"] and tuple(state_dict["list"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare with the list of this run."""
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, OrdinalDataModule):
            return
        targets = np.array(data.labels("train").targets)
        now = len(targets), zlib.crc32(targets.tobytes())
        if self._before not in (None, now) and trainer.is_global_zero:
            before, images = self._before[0], now[0]
            what = f"{before} images then, {images} now" if before != images else "as many images, other targets"
            _log.warning(
                "the training list is not the one that the checkpoint was made with (%s): this fit will not end as the "
                "one that was stopped; for an exact end, resume it with the same list and the same images",
                what,
            )
        self._before = now
